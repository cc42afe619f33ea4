"""A flow-running process with a Prefect server of its own, and a fake Object Detection API: for tests of the flow."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
GOLDEN = "graphs/trained_F_t215_v2_160_c3"


@pytest.fixture(scope="session")
def golden_model(shared_data: Path) -> Path:
    """Folder with frozen_inference_graph.pb and pipeline.config of a model trained on three classes."""
    return shared_data / GOLDEN


@pytest.fixture(scope="session")
def fake_odapi(tmp_path_factory: pytest.TempPathFactory, golden_model: Path) -> Path:
    """An interpreter for `train.python` that answers the Object Detection API's jobs from a golden model, at once."""
    path = tmp_path_factory.mktemp("fake-odapi") / "python"
    path.write_text(
        f"#!{sys.executable}\n" + (HERE / "fake_odapi.py").read_text().replace("GOLDEN_MODEL", str(golden_model))
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


class Flows:
    """A process that runs flows when told to, on one private Prefect server."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "flows.log"
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "run_flows.py"), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            )

    def run(self, spec: Path, **options: Any) -> dict[str, Any]:
        """Outcome of the run: what the flow returned, or ``{"error": text, "kind": class}``.

        Options: ``force``; ``verify``; ``edited``: source files (their path's end) to be taken as changed; ``flow``:
        another flow and ``arguments``: its arguments.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"spec": str(spec), **options}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("OUTCOME "):
                return json.loads(line[8:])
        raise AssertionError(f"the flow process ended: {self.log.read_text()[-3000:]}")

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    running = Flows(tmp_path_factory.mktemp("flows"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of processes that share one Prefect server; this process's own stays as it is."""
    from jetlane.flows.serving.private_server import PrefectApi

    before = dict(os.environ)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    try:
        with PrefectApi(tmp_path_factory.mktemp("server")) as api:
            api.wait()
            environment = dict(os.environ)
            os.environ.clear()
            os.environ.update(before)
            yield environment
    finally:
        os.environ.clear()
        os.environ.update(before)
