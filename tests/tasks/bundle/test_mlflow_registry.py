"""A lineage in MLflow: its real client, which `make mlflow` installs apart, and a real store of its own in SQLite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jetlane.tasks.bundle.mlflow_registry import metrics, params

LINEAGE: dict[str, Any] = {
    "release": "bottles-01ab",
    "made": 1_790_000_000.0,
    "project": "bottles",
    "serial": 7,
    "model": "ssd_mobilenet_v2",
    "labels": ["a bottle", "cap"],
    "sources": {"step train": "ab" * 32},
    "tools": {"tensorflow": "2.15.1"},
    "metrics": {"evaluation": {"mAP": 0.4, "mAP@0.5": 0.75, "per_class": {"a bottle": {"AP@0.5": 0.7}, "cap": {}}}},
    "state": "live",
    "devices": ["nano-1"],
    "latency_ms": {"Jetson Nano (4 GB)": 31.5},
    "steps": [
        {"step": "dataset", "key": "k1", "params": {}, "facts": {}},
        {"step": "train", "key": "k2", "params": {"seed": 3}, "seconds": 60.5, "facts": {"loss": 0.25}},
        {"step": "convert", "key": "gone"},
    ],
}

_PROGRAM = """
import json, sys
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.bundle.mlflow_registry import TAG, register
uri, lineage = sys.argv[1], json.loads(sys.argv[2])
try:
    made = [register(uri, lineage), register(uri, lineage), register(uri, {**lineage, "release": "bottles-02cd"})]
except JetlaneError as error:
    print(json.dumps({"what": error.what, "why": error.why}))
    raise SystemExit
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=uri, registry_uri=uri)
run = client.get_run(made[0].run)
found = client.download_artifacts(made[0].run, "lineage.json", sys.argv[3])
print(json.dumps({
    "made": [[one.version, one.new] for one in made], "runs": len({one.run for one in made}), "name": run.info.run_name,
    "status": run.info.status, "params": run.data.params, "metrics": run.data.metrics, "tags": run.data.tags,
    "versions": {str(one.version): one.tags[TAG] for one in client.search_model_versions("name='bottles'")},
    "live": str(client.get_model_version_by_alias("bottles", "live").version), "lineage": json.load(open(found)),
}))
"""


def test_numbers_and_parameters_have_names_that_mlflow_takes() -> None:
    assert dict(metrics(LINEAGE)) == {
        "mAP": 0.4,
        "mAP50": 0.75,
        "AP50/a bottle": 0.7,
        "train_loss": 0.25,
        "train_seconds": 60.5,
        "latency_ms/Jetson Nano _4 GB_": 31.5,
    }
    assert dict(params(LINEAGE)) == {
        "model": "ssd_mobilenet_v2",
        "serial": "7",
        "train.seed": "3",
        "tool.tensorflow": "2.15.1",
    }
    assert dict(metrics({"steps": [], "metrics": None})) == {}


@pytest.fixture
def mlflow(repository: Path) -> dict[str, str]:
    """Environment of a process that has MLflow's client."""
    client = repository / ".venv" / "mlflow"
    if not (client / "mlflow").is_dir():
        pytest.skip("MLflow's client is not here: make mlflow")
    return {**os.environ, "PYTHONPATH": str(client)}


def registered(environment: dict[str, str], uri: str, folder: Path) -> dict[str, Any]:
    words = [sys.executable, "-c", _PROGRAM, uri, json.dumps(LINEAGE), str(folder)]
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_a_release_is_one_run_and_one_version(mlflow: dict[str, str], tmp_path: Path) -> None:
    found = registered(mlflow, f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    assert found["made"] == [["1", True], ["1", False], ["2", True]] and found["runs"] == 2
    assert (found["name"], found["status"]) == ("bottles-01ab", "FINISHED")
    assert found["metrics"] == dict(metrics(LINEAGE)) and found["params"] == dict(params(LINEAGE))
    assert found["tags"]["jetlane.source.step train"] == "ab" * 32
    assert found["versions"] == {"1": "bottles-01ab", "2": "bottles-02cd"} and found["live"] == "2"
    assert found["lineage"] == LINEAGE
    assert {path.name for path in tmp_path.iterdir()} == {"lineage.json", "mlflow.db", "mlflow.db-artifacts"}


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_in_words(mlflow: dict[str, str], tmp_path: Path) -> None:
    told = registered(mlflow, "http://ann:secret@127.0.0.1:9/", tmp_path)
    assert told["what"].startswith("MLflow at http://") and told["what"].endswith("does not take the release")
    assert "secret" not in told["what"] + told["why"]
