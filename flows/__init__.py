"""What runs when: a file for each Prefect flow, and beside them servers, Prefect's plugin and the command line."""
