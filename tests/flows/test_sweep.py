"""``train.sweep``: every variant is a training of its own, found again, and the run goes on with the best."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.flows.test_step_table import Project

from jetlane.tasks.converter.ssd import config

pytestmark = pytest.mark.prefect


def test_the_best_variant_is_shipped(tmp_path: Path, fake_odapi: Path, flows: Any) -> None:
    project = Project(tmp_path, fake_odapi)
    project.write_spec(sweep={"learning_rate": [0.002, 0.006], "augmentation": ["none", "light"]})
    outcome = flows.run(project.path)
    assert outcome["steps"]["train"] == "made", outcome
    trained = [json.loads(path.read_text()) for path in tmp_path.glob(".jetlane/steps/train/*/manifest.json")]
    assert len(trained) == 4 and all(one["params"]["evaluate_every"] == 6 for one in trained)
    (evaluated,) = tmp_path.glob(".jetlane/steps/evaluate/*/pipeline.config")
    chosen = config.read(evaluated).message.train_config
    rate = chosen.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate.learning_rate_base
    assert rate == pytest.approx(0.006) and not chosen.data_augmentation_options
    told = Path(outcome["report"]).read_text()
    assert "sweep: augmentation none, learning_rate 0.006: map50 0.0060" in told

    assert flows.run(project.path)["changed"] is False
    project.write_spec(sweep=[{"learning_rate": 0.004}, {"learning_rate": 0.002, "augmentation": "none"}])
    again = flows.run(project.path)
    assert again["changed"] is True
    assert len(list(tmp_path.glob(".jetlane/steps/train/*/manifest.json"))) == 5
