"""A release's training is found by what the release says of itself, and stays as long as the release is live."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jetlane.tasks.run.cleaning import clean
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.release_training import training_of
from jetlane.tasks.run.run_record import RunRecord
from jetlane.tasks.run.workspace import StepResult, Workspace


def run(root: Path, data: int) -> StepResult:
    """What a run leaves: a training, and the release that came of it."""
    with RunRecord(root, "cars") as record:
        workspace = Workspace(root, use=record.use)

        def train(out: Path) -> dict[str, Any]:
            (out / "model").mkdir()
            (out / "model" / "model.ckpt-6.index").write_text(f"weights {data}")
            return {"checkpoint": "model/model.ckpt-6"}

        options: dict[str, Any] = {"params": {"data": data}, "code": ("jetlane.specs.errors",)}
        trained = workspace.step("train", inputs={}, make=train, **options)

        def release(out: Path) -> None:
            (out / name(data)).mkdir()
            told = {"sources": {"step train": trained.digest(), "frozen_graph": "0"}}
            (out / name(data) / "manifest.json").write_text(json.dumps(told))

        made = workspace.step("release", inputs={"train": trained.digest()}, make=release, **options)
        (workspace.folder("releases") / name(data)).symlink_to(Path("..") / made.path.relative_to(root) / name(data))
    return trained


def name(data: int) -> str:
    return f"cars-{data:032x}"


def test_the_checkpoint_of_a_live_release_stays(tmp_path: Path) -> None:
    trained = [run(tmp_path, data) for data in range(4)]
    remember_live(Workspace(tmp_path), name(1))
    clean(Workspace(tmp_path), 1, set)
    assert [one.path.is_dir() for one in trained] == [False, True, False, True]
    found = training_of(tmp_path, tmp_path / "releases" / name(1))
    assert found is not None and found.checkpoint == trained[1].file("model/model.ckpt-6")


@pytest.mark.parametrize("manifest", ["", "[]", '{"sources": 3}', '{"sources": {"step train": "0"}}'])
def test_a_release_of_another_workspace(tmp_path: Path, manifest: str) -> None:
    run(tmp_path, 0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "manifest.json").write_text(manifest)
    assert training_of(tmp_path, elsewhere) is None
