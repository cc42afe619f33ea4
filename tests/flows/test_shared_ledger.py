"""Two workspaces, as on two hosts, whose specs name one ledger: one of them trains the project at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.flows.small_spec import write_spec

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def run(folder: Path, **environment: str) -> subprocess.Popen[bytes]:
    """``jetlane run`` in a folder; what it says is in ``said``."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with open(folder / "said", "wb") as said:
        words = [sys.executable, "-m", "jetlane", "run", "spec.yaml"]
        return subprocess.Popen(words, cwd=folder, env={**clean, **environment}, stdout=said, stderr=said)


def until_said(folder: Path, text: str) -> str:
    deadline = time.monotonic() + 180
    while text not in (said := (folder / "said").read_text()):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
    return said


def test_a_run_elsewhere_waits_and_goes_on_when_the_one_that_trains_is_killed(tmp_path: Path, fake_odapi: Path) -> None:
    ledger = f"sqlite:///{tmp_path / 'shared.db'}"
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
        write_spec(folder, "bottles", fake_odapi, workspace="work", fleet={"ledger": ledger})
    first = run(folders[0], JETLANE_TEST_HANG="train")
    try:
        until_said(folders[0], "step 3/6")
        second = run(folders[1])
        said = until_said(folders[1], "another training of bottles is under way")
        assert f"process {first.pid} on " in said and "since 20" in said
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert second.wait(180) == 0, (folders[1] / "said").read_text()
        assert (folders[1] / "work" / "releases").is_dir()
    finally:
        first.kill()
        first.wait()
