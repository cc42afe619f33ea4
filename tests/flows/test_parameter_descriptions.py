"""Whoever starts a run in Prefect's pages reads there what each parameter is."""

from __future__ import annotations

from typing import Any

from prefect.utilities.callables import parameter_schema

from jetlane.flows.fleet_rollout import fleet_rollout
from jetlane.flows.retrain_and_deploy import retrain_and_deploy
from jetlane.flows.rollback import rollback
from jetlane.flows.scheduled_retrain import scheduled_retrain
from jetlane.specs.schema import RunSpec


def described(given: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """By itself, or as the section that it is."""
    names = [one["$ref"].rpartition("/")[2] for one in (given, *given.get("allOf", ())) if "$ref" in one]
    return bool(given.get("description")) or any(definitions[name].get("description") for name in names)


def test_every_parameter_of_every_deployment_is_described() -> None:
    for flow in (retrain_and_deploy, scheduled_retrain, fleet_rollout, rollback):
        schema = parameter_schema(flow.fn)
        missing = [name for name, one in schema.properties.items() if not described(one, schema.definitions or {})]
        assert missing == [], flow.name


def test_descriptions_of_a_run_are_those_of_the_spec() -> None:
    properties = parameter_schema(retrain_and_deploy.fn).properties
    for name in ("name", "signing_key", "base_dir"):
        assert properties[name]["description"] == RunSpec.model_fields[name].description
