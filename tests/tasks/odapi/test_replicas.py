"""Several devices share every batch. A processor that is divided in two stands for two GPUs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tasks.odapi.conftest import TINY, Data, Trained

from jetlane.specs.errors import TrainingError
from jetlane.tasks.odapi.client import OdapiChild, TrainJob

pytestmark = pytest.mark.tensorflow

SETTINGS = replace(TINY, batch_size=4, steps=3)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["ssd_mobilenet_v2", "ssd_mobilenet_v2_keras"])
def test_two_train_as_one_does_and_one_goes_on(data: Data, tmp_path: Path, network: str) -> None:
    settings = replace(SETTINGS, architecture=network)

    def losses(job: TrainJob, cut: Path | None = None) -> list[float]:
        """Of each step; ``cut`` gets what is there after the first evaluation."""

        def evaluated(row: object) -> None:
            if cut is not None and not cut.exists():
                shutil.copytree(job.model_dir, cut)

        with OdapiChild(None, tmp_path / "log") as child:
            facts = child.train(job, on_evaluated=evaluated)
            measured = child.evaluate(Trained(job, facts, []).evaluation(job.model_dir.parent / "evaluated"))
        best = facts["validation"]["best"]
        assert [row["step"] for row in facts["validation"]["evaluations"]] == [2, 3]
        assert (measured["step"], measured["mAP"]) == (best["step"], pytest.approx(best["map"], abs=1e-4))
        return [loss for _, loss, _ in json.loads((job.model_dir / facts["loss_curve"]).read_text())]

    whole = data.job(tmp_path / "one", settings, evaluate_every=2)
    shared = replace(data.job(tmp_path / "two", settings, evaluate_every=2), gpus=2, device_kind="CPU")
    one, two = losses(whole), losses(shared, tmp_path / "cut" / "model")
    assert two[0] == pytest.approx(one[0], rel=0.3)  # a mean over all images, not a sum over devices
    again = losses(replace(whole, model_dir=tmp_path / "cut" / "model"))
    assert again[:2] == two[:2] and len(again) == 3


def test_what_cannot_be_shared_is_refused(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"train\.gpus: 2 asked for, and TensorFlow sees 0 here") as caught:
        child.train(data.job(tmp_path, SETTINGS, gpus=2))
    assert "remove train.gpus" in caught.value.remedy
    with (
        OdapiChild(None, tmp_path / "log") as divided,
        pytest.raises(TrainingError, match=r"train\.batch_size: 5 images cannot be divided among 2 GPUs"),
    ):
        divided.train(data.job(tmp_path, replace(SETTINGS, batch_size=5), gpus=2, device_kind="CPU"))


@pytest.mark.slow
def test_all_gpus_of_a_machine_without_any_are_its_processor(child: OdapiChild, data: Data, tmp_path: Path) -> None:
    assert child.train(data.job(tmp_path, replace(SETTINGS, steps=1), gpus="all"))["steps"] == 1
