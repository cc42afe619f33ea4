"""``train.prune``: pruned and trained again after the training, which is found where it was made before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.flows.test_step_table import IMAGES, Project, made

from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.release_training import trainings_of
from jetlane.tasks.run.workspace import Workspace

pytestmark = pytest.mark.prefect


def test_a_network_is_pruned_after_its_training(tmp_path: Path, fake_odapi: Path, flows: Any) -> None:
    project, root = Project(tmp_path, fake_odapi), tmp_path / ".jetlane"
    project.write_spec()
    assert "train" in made(flows.run(project.path))

    project.write_spec(prune=0.4)
    smaller = flows.run(project.path)
    assert {"prune", "retrain", "evaluate", "export", "release"} <= made(smaller) and "train" not in made(smaller)
    manifest = json.loads((root / "releases" / smaller["release"] / "manifest.json").read_text())
    assert {"step train", "step prune", "step retrain"} <= set(manifest["sources"])
    steps = [one.path.parent.name for one in trainings_of(root, root / "releases" / smaller["release"])]
    assert steps == ["train", "retrain"]
    assert "33 % fewer parameters" in Path(smaller["report"]).read_text()
    assert flows.run(project.path)["changed"] is False

    project.write_spec(prune={"fraction": 0.4, "steps": 3})
    assert "retrain" in (again := made(flows.run(project.path))) and again.isdisjoint({"train", "prune"})
    project.write_spec(prune={"threshold": 0.2, "norm": "l1"})
    assert {"prune", "retrain"} <= (again := made(flows.run(project.path))) and "train" not in again


def test_what_goes_on_from_a_pruned_model_stays_pruned(tmp_path: Path, fake_odapi: Path, flows: Any) -> None:
    project, root = Project(tmp_path, fake_odapi), tmp_path / ".jetlane"
    project.write_spec(start_from="live", prune=0.4)
    first = flows.run(project.path)
    remember_live(Workspace(root), first["release"])
    assert flows.run(project.path)["changed"] is False

    project.write_split("train", draw_split(replace(IMAGES, seed=4), "train"))
    second = flows.run(project.path)
    assert "train" in made(second) and second["steps"]["prune"] == second["steps"]["retrain"] == "skipped"
    remember_live(Workspace(root), second["release"])
    assert flows.run(project.path)["changed"] is False

    project.write_spec(start_from="live", prune=0.6)
    again = flows.run(project.path)
    assert {"prune", "retrain"} <= made(again) and "train" not in made(again)
