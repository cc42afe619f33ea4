"""Many boards at once: all come to run the release, and the orchestrator stays small. ``bench.fleet`` does the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("devices", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_a_fleet_in_waves(devices: int, tmp_path: Path) -> None:
    """Real SSH, the real agent; that every board runs the release and the ledger says so is looked at in there."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.fleet", "--sizes", str(devices), "--json", str(figures)]
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(figures.read_text())["runs"]
    assert run["devices"] == devices and run["peak"] <= 250
    assert run["sent"] > devices * 100_000, "each board was sent the release"
