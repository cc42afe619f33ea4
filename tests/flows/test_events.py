"""Events cost a run nothing: neither time nor its end, whatever the server does and whatever they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jetlane.flows.serving.events import KINDS, Subject

_PROGRAM = """
import time
from prefect.events import emit_event
from jetlane.flows.serving.events import Subject, emit
about = Subject("project", "bottles")
began = time.monotonic()
for number in range(200):
    emit("jetlane.step.finished", about, {"step": number, "note": "x" * 100_000, "odd": object()}, [about])
emit("jetlane.rollout.started", about, {str(number): "x" * 2000 for number in range(2000)})  # larger than Prefect takes
emit("", about, {"a": float("nan")}, [Subject("", "")] * 1000)
print("took", time.monotonic() - began)
"""


def test_each_event_has_a_name_of_its_own_and_a_subject() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert {kind.about for kind in KINDS} == {"project", "release", "rollout", "device"}
    assert Subject("device", "nano-1").labels(related=True) == {
        "prefect.resource.id": "jetlane.device.nano-1",
        "prefect.resource.name": "nano-1",
        "prefect.resource.role": "device",
    }


@pytest.mark.slow
def test_a_server_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    gone = {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env={**os.environ, **gone}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("took ")[1]) < 5.0
    assert "jetlane.rollout.started was not emitted" in done.stderr
