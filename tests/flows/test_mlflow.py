"""``track.mlflow`` of a spec: a run records its release once, with MLflow's real client and a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.flows.small_spec import write_spec

from jetlane.specs.errors import SpecError
from jetlane.specs.schema import Track
from jetlane.tasks.run.tracking import refuse_missing_mlflow

_PROGRAM = """
import json, sys
from mlflow.tracking import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1], registry_uri=sys.argv[1])
found = client.search_model_versions("name='tracked'")
print(json.dumps([[one.tags["jetlane.release"], client.get_run(one.run_id).data.metrics] for one in found]))
"""


def test_without_the_client_a_run_ends_before_anything_is_done() -> None:
    refuse_missing_mlflow(Track())
    with pytest.raises(SpecError, match=r"MLflow's client is not installed here(.|\n)*jetlane\[mlflow\]"):
        refuse_missing_mlflow(Track(mlflow="http://127.0.0.1:5000"))


@pytest.mark.slow
@pytest.mark.prefect
def test_a_run_records_its_release_once_and_goes_on_without_mlflow(
    tmp_path: Path, fake_odapi: Path, repository: Path
) -> None:
    client = repository / ".venv" / "mlflow"
    if not (client / "mlflow").is_dir():
        pytest.skip("MLflow's client is not here: make mlflow")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = {**clean, "PYTHONPATH": str(client)}

    def program(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def run(uri: str) -> str:
        write_spec(tmp_path, "tracked", fake_odapi, workspace="work", gate={"min_map": 0.0}, track={"mlflow": uri})
        return program("-m", "jetlane", "run", "spec.yaml")

    assert "MLflow at http://127.0.0.1:9 does not take the release" in run("http://127.0.0.1:9")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert "in MLflow: version 1 of the model tracked" in run(uri)
    assert "in MLflow" not in run(uri)
    (found,) = json.loads(program("-c", _PROGRAM, uri).splitlines()[-1])
    known: Any = found
    assert known[0].startswith("tracked-") and known[1]["mAP50"] == 0.9
    assert (tmp_path / "work" / "releases" / known[0]).exists()
    said = program("-m", "jetlane", "lineage", "tracked", "--mlflow", uri, "--workspace", "work")
    assert "was already version 1 of the model tracked" in said
