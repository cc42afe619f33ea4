"""Evaluations amid a training: the best checkpoint is what comes out, whatever cuts it or ends it early."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.tasks.odapi.conftest import TINY, Data

from jetlane.specs.load import spec_from_data
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import EvaluateJob, OdapiChild, TrainJob
from jetlane.tasks.odapi.evaluation_plan import interval
from jetlane.tasks.odapi.training_config import pipeline_config

#: One of each loop; and what its checkpoints are called.
NETWORKS = {"ssd_mobilenet_v2": "model.ckpt", "ssd_mobilenet_v2_keras": "ckpt"}


def small_config(train: dict[str, Any], architecture: str = "ssd_mobilenet_v2") -> str:
    """The pipeline.config of a small network, trained as a spec says."""
    model = {"architecture": architecture, "width": 112, "height": 112, "depth_multiplier": 0.35}
    return pipeline_config(
        spec_from_data({"name": "a", "dataset": {"shapes": {}}, "train": train, "model": model}, Path("/")), 3
    )


def worth(child: OdapiChild, job: TrainJob, prefix: str, out: Path) -> dict[str, Any]:
    """What the step ``evaluate`` makes of a checkpoint of a training."""
    checkpoint = job.model_dir / prefix
    return child.evaluate(EvaluateJob(job.pipeline_config, job.validation_records, job.label_map, checkpoint, out))


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "network", ["ssd_mobilenet_v2", pytest.param("ssd_mobilenet_v2_keras", marks=pytest.mark.slow)]
)
def test_the_best_checkpoint_is_that_of_the_curves_maximum(
    child: OdapiChild, data: Data, tmp_path: Path, network: str
) -> None:
    job = data.job(tmp_path, replace(TINY, architecture=network), checkpoint_every=3, evaluate_every=2)
    told: list[Any] = []
    facts = child.train(job, on_evaluated=told.append)
    rows = facts["validation"]["evaluations"]
    assert [row["step"] for row in rows] == [2, 4] and told == rows
    best = max(rows, key=lambda row: row["map50"])
    assert facts["validation"]["best"] == best and not facts["validation"]["gave_up"]
    assert facts["checkpoint"] == f"trained/{NETWORKS[network]}-{best['step']}"
    again = worth(child, job, facts["checkpoint"], tmp_path / "evaluated")
    assert again["step"] == best["step"]
    assert again["mAP@0.5"] == pytest.approx(best["map50"], abs=1e-4)
    assert again["mAP"] == pytest.approx(best["map"], abs=1e-4)
    known = [one["AP@0.5"] for one in again["per_class"].values()]
    assert min(known) == pytest.approx(best["worst_class"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("network", NETWORKS)
def test_a_cut_training_goes_on_with_what_was_measured(
    child: OdapiChild, data: Data, tmp_path: Path, network: str
) -> None:
    told: list[Any] = []
    settings = replace(TINY, architecture=network)
    job = data.job(tmp_path / "whole", settings, checkpoint_every=3, evaluate_every=2)
    cut = replace(job, model_dir=tmp_path / "cut" / "model")

    def evaluated(row: Any) -> None:
        if not told:
            shutil.copytree(job.model_dir, cut.model_dir)
        told.append(row)

    child.train(job, on_evaluated=evaluated)
    again: list[Any] = []
    resumed = child.train(cut, on_evaluated=again.append)
    assert resumed["resumed_from"] == 2
    assert resumed["validation"]["evaluations"] == [told[0], *again] and len(again) == 1
    curve = json.loads((cut.model_dir / resumed["loss_curve"]).read_text())
    assert [step for step, _, _ in curve] == [1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("patience", [None, 3])
def test_a_set_that_overfits(child: OdapiChild, tmp_path: Path, patience: int | None, network: str) -> None:
    """A few images are learnt by heart: the network gets worse on others while its loss goes on falling."""
    folder = tmp_path / "data"
    folder.mkdir()
    data = Data(folder, prepare(SyntheticSource(train_images=24, validation_images=30, shards=1), folder))
    train = {"steps": 640, "batch_size": 8, "learning_rate": 0.008, "augmentation": "none"}
    job = data.job(tmp_path / "job", checkpoint_every=640, evaluate_every=40, patience=patience)
    job.pipeline_config.write_text(small_config({**train, "schedule": {"kind": "constant"}}, network))
    facts = child.train(job)
    rows = facts["validation"]["evaluations"]
    values = [row["map50"] for row in rows]
    best = rows[values.index(max(values))]
    assert best["step"] < rows[-1]["step"], f"the last is the best, which shows nothing: {values}"
    assert facts["validation"]["best"] == best and facts["checkpoint"].endswith(f"-{best['step']}")
    assert worth(child, job, facts["checkpoint"], tmp_path / "best")["mAP@0.5"] == pytest.approx(max(values), abs=1e-3)
    if patience is None:
        assert facts["steps"] == 640 and not facts["validation"]["gave_up"]
    else:
        assert facts["validation"]["gave_up"]
        assert facts["steps"] == rows[-1]["step"] == best["step"] + 40 * patience < 640
        assert child.train(job)["steps"] == facts["steps"]  # what has ended is not gone on with


@pytest.mark.parametrize(
    ("asked", "steps", "batch", "images", "every"),
    [
        (0, 20_000, 16, 500, 0),
        (250, 20_000, 16, 500, 250),
        ("auto", 1000, 16, 60, 0),  # short trainings are as fast as they were
        ("auto", 5000, 16, 60, 1000),
        ("auto", 200_000, 16, 60, 10_000),
        ("auto", 20_000, 16, 5000, 3125),  # a large validation set is looked at less often
    ],
)
def test_how_often(asked: Any, steps: int, batch: int, images: int, every: int) -> None:
    assert interval(asked, steps, batch, images) == every
