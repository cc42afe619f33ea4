"""Many boards at once: all come to run the release, and the orchestrator stays small. ``bench.fleet`` does the work."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("devices", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_a_fleet_in_waves(devices: int, tmp_path: Path) -> None:
    """Real SSH, the real agent; that every board runs the release and the ledger says so is looked at in there."""
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-m", "bench.fleet", "--sizes", str(devices), "--json", str(figures)]
    repository = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(figures.read_text())["runs"]
    assert run["devices"] == devices and run["peak"] <= 250
    assert run["sent"] > devices * 100_000, "each board was sent the release"


def test_the_fit_separates_costs_per_device_from_costs_per_fleet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[3]))
    from bench.fleet import Run, fit

    sizes = (25, 50, 100, 200)
    runs = [Run(n, 3 + 2.0 * n, 1 + 0.5 * n, 0.1 * n, 0.001 * n * n, 100.0 + 0.05 * n, n, 1.0, (0, 0)) for n in sizes]
    found = {row["figure"]: row for row in fit(runs)}
    assert (found["wall s"]["a"], found["wall s"]["b"]) == (pytest.approx(3), pytest.approx(2))
    assert abs(found["orchestrator CPU s"]["square"]) < 1e-6
    assert found["agents CPU s"]["square"] == pytest.approx(1)
