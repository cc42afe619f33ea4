"""``train.start_from: live``: trainings go on from what the fleet runs, and unchanged data is not trained on again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.flows.test_step_table import IMAGES, Project

from jetlane.tasks.data.shapes import draw_split
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.workspace import Workspace

pytestmark = pytest.mark.prefect


def started_from(workspace: Path) -> list[Any]:
    """What each training in the workspace started from, the oldest first."""
    manifests = sorted((workspace / "steps" / "train").glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    return [json.loads(path.read_text())["facts"]["start"] for path in manifests]


def test_live_is_gone_on_from_when_there_is_something_to_learn(tmp_path: Path, fake_odapi: Path, flows: Any) -> None:
    project = Project(tmp_path, fake_odapi)
    project.write_spec(start_from="live")
    root = tmp_path / ".jetlane"
    first = flows.run(project.path)
    assert first["steps"]["train"] == "made" and started_from(root) == [None]

    remember_live(Workspace(root), first["release"])  # as a rollout does
    assert flows.run(project.path)["changed"] is False

    project.write_split("train", draw_split(replace(IMAGES, seed=4), "train"))
    second = flows.run(project.path)
    assert second["steps"]["train"] == "made" and second["release"] != first["release"]
    assert started_from(root)[1]["told"] == f"the live release {first['release']}"
    again = flows.run(project.path)  # as if it had been refused: what is live is what was live
    assert again["changed"] is False

    remember_live(Workspace(root), second["release"])
    assert flows.run(project.path)["changed"] is False
    assert len(started_from(root)) == 2

    project.write_spec(start_from={"release": first["release"]})
    third = flows.run(project.path)
    assert third["steps"]["train"] == "cached"  # the same data from the same start
    project.write_spec(start_from={"release": "table-" + "0" * 32})
    assert "there is no release table-000" in flows.run(project.path)["error"]
