"""A training that is cut says what is lost, and one that goes on says from where."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.specs.schema import RunSpec
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.lost_steps import LostSteps


def test_what_is_lost_and_where_it_goes_on(tmp_path: Path) -> None:
    spec = RunSpec.model_validate(
        {"name": "cars", "dataset": {"shapes": {}}, "workspace": {"path": str(tmp_path / "ws")}}
    )
    with Run(spec) as run:
        with pytest.raises(KeyboardInterrupt), LostSteps(run, tmp_path) as lost:
            lost.reached(130)
            raise KeyboardInterrupt
        (tmp_path / "checkpoint").write_text(
            'model_checkpoint_path: "model.ckpt-400"\nall_model_checkpoint_paths: "model.ckpt-200"\n'
        )
        with pytest.raises(KeyboardInterrupt), LostSteps(run, tmp_path) as lost:
            lost.reached(412)
            raise KeyboardInterrupt
        with LostSteps(run, tmp_path) as lost:
            lost.reached(600)
        assert run.notes == [
            "the training was cut at step 130; there is no checkpoint yet: 130 steps will be done again",
            "a training that was cut goes on from step 400, of its last checkpoint",
            "the training was cut at step 412; the last checkpoint is of step 400: 12 steps will be done again",
            "a training that was cut goes on from step 400, of its last checkpoint",
        ]
