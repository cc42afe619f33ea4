"""What steps share: a run's context, its workspace, the Prefect task around a step, progress, versions and serials."""
