"""Prefect servers on this machine, and how a flow is run here."""
