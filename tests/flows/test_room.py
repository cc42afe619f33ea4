"""``workspace.keep`` in real runs, and ``jetlane workspace du`` and ``clean``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.flows.conftest import Flows
from tests.flows.small_spec import write_spec

from jetlane.tasks.run.room import Sizes

pytestmark = pytest.mark.prefect


def jetlane(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "jetlane", *arguments], cwd=folder, capture_output=True, text=True)


def change_data(spec: Path, seed: int) -> None:
    data = yaml.safe_load(spec.read_text())
    data["dataset"]["shapes"]["seed"] = seed
    spec.write_text(yaml.safe_dump(data))


def of_steps(root: Path) -> dict[str, int]:
    return {step.name: len(list(step.iterdir())) for step in (root / "steps").iterdir()}


def runs_within_bounds(flows: Flows, spec: Path, count: int, keep: int) -> None:
    """Runs of changed data, each looked at; what ``steps``, ``releases`` and ``logs`` take is at most keep + 1 times
    what the first run's did."""
    root = spec.parent / ".jetlane"

    def room() -> int:
        sizes = Sizes()
        return sum(sizes.of(root / name) for name in ("steps", "releases", "logs", "runs"))

    once = 0
    for seed in range(count):
        change_data(spec, seed)
        outcome = flows.run(spec)
        assert "error" not in outcome, outcome
        once = once or room()
        assert room() <= (keep + 1) * once
        assert Path(outcome["release_path"], "manifest.json").is_file() and Path(outcome["report"]).is_file()
    assert of_steps(root)["train"] == of_steps(root)["dataset"] == min(count, keep)
    assert len(list((root / "releases").iterdir())) == min(count, keep)
    again = flows.run(spec)
    assert not again["changed"]
    assert of_steps(root)["train"] == min(count, keep)


def test_runs_of_changed_data_stay_within_what_is_kept(flows: Flows, tmp_path: Path, fake_odapi: Path) -> None:
    spec = write_spec(tmp_path, "kept", fake_odapi, workspace={"keep": 1})
    runs_within_bounds(flows, spec, count=2, keep=1)
    change_data(spec, 7)
    data = yaml.safe_load(spec.read_text())
    spec.write_text(yaml.safe_dump({**data, "workspace": ".jetlane"}))  # a path alone: everything is kept
    flows.run(spec)
    assert of_steps(tmp_path / ".jetlane")["train"] == 2

    shown = jetlane(tmp_path, "workspace", "du", "--json")
    kinds = {row["kind"]: row for row in json.loads(shown.stdout)}
    assert kinds["checkpoints"]["items"] == 2 and kinds["releases"]["bytes"] > 100_000
    told = jetlane(tmp_path, "workspace", "clean", "--keep", "1", "--dry-run")
    assert "would go" in told.stdout and of_steps(tmp_path / ".jetlane")["train"] == 2, told
    done = jetlane(tmp_path, "workspace", "clean", "--keep", "1")
    assert "removed" in done.stdout and of_steps(tmp_path / ".jetlane")["train"] == 1, done
    assert not flows.run(spec)["changed"]


@pytest.mark.slow
def test_ten_runs_of_changed_data_take_at_most_four_times_the_room_of_one(
    flows: Flows, tmp_path: Path, fake_odapi: Path
) -> None:
    spec = write_spec(tmp_path, "ten", fake_odapi, workspace={"keep": 3}, fleet={"virtual": 1})
    runs_within_bounds(flows, spec, count=10, keep=3)


def test_a_folder_that_is_no_workspace_is_told(tmp_path: Path) -> None:
    done = jetlane(tmp_path, "workspace", "du")
    assert done.returncode == 1 and "is no workspace" in done.stderr
