"""What makes `prefect deployment run retrain-and-deploy --params spec.yaml` work as it stands."""
