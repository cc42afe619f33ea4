"""A rollout in Prefect: its task runs and artifacts, and its jobs on the work pools of sites."""
