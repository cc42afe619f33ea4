"""Keras models of TensorFlow 2: trained, resumed, fine-tuned, evaluated, exported and converted like TF1-style ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.odapi import agreement, tensorflows
from tests.tasks.odapi.agreement import TOLERANCE
from tests.tasks.odapi.conftest import Data, Trained
from tests.tasks.odapi.cut_training import cut_training
from tests.tasks.odapi.test_jobs import pycocotools_numbers

from jetlane.specs.errors import TrainingError
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.data.prepare import prepare
from jetlane.tasks.data.source import SyntheticSource
from jetlane.tasks.odapi.client import ExportJob, OdapiChild
from jetlane.tasks.odapi.pipeline import ModelSettings, render

pytestmark = pytest.mark.tensorflow

SMALL = ModelSettings("ssd_mobilenet_v2_keras", 96, 96, 0.35, batch_size=2, steps=3)
PYRAMID = replace(SMALL, architecture="ssd_mobilenet_v2_fpnlite", batch_size=8)
FIVE_LABELS = 'item { id: 4 name: "star" }\nitem { id: 5 name: "ring" }\n'


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OdapiChild]:
    """A process of its own: one serves Keras models or TF1-style ones."""
    with OdapiChild(None, tmp_path_factory.mktemp("keras") / "odapi.log") as child:
        yield child


@pytest.fixture(scope="module")
def small(keras: OdapiChild, data: Data, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    job = data.job(tmp_path_factory.mktemp("small"), SMALL, evaluate_every=2)
    progress: list = []
    return Trained(job, keras.train(job, progress.append), progress)


def export(keras: OdapiChild, trained: Trained, out: Path) -> Path:
    keras.export(ExportJob(trained.job.pipeline_config, trained.checkpoint, out))
    return out / "frozen_inference_graph.pb"


def assert_converts(frozen: Path, config: Path, images: list[np.ndarray], folder: Path) -> None:
    """UFF and ONNX are made of it, and its boxes and scores are TensorFlow's."""
    facts = convert_model(frozen, config, folder / "model")
    assert facts["unproven"] == [] and (folder / "model" / "model.uff").is_file()
    ours = agreement.raw_outputs(folder / "model" / "model.trt.onnx", images, facts["plugins"]["input"])
    for found, expected in zip(ours, tensorflows.raw_outputs(frozen, images, folder)):
        assert np.abs(found[0] - expected[0]).max() < TOLERANCE
        assert np.abs(found[1][:, -expected[1].shape[1] :] - expected[1]).max() < TOLERANCE


def test_a_short_training_leaves_what_others_leave_and_converts(
    keras: OdapiChild, data: Data, small: Trained, tmp_path: Path
) -> None:
    folder, facts = small.job.model_dir, small.facts
    assert (facts["steps"], facts["resumed_from"], facts["fine_tune"]) == (3, 0, None)
    assert [row["step"] for row in facts["validation"]["evaluations"]] == [2, 3]
    assert facts["checkpoint"] == f"trained/ckpt-{facts['validation']['best']['step']}"
    assert {path.name for path in folder.iterdir()} >= {"checkpoint", "loss.json", "trained"}
    assert not list(folder.glob("ckpt-*")) and list(folder.glob("events.out.tfevents.*"))
    assert str(folder) not in (folder / "checkpoint").read_text()  # it may be moved
    curve = json.loads((folder / facts["loss_curve"]).read_text())
    assert [step for step, _, _ in curve] == [1, 2, 3] and facts["loss"] == curve[-1][1]
    assert curve[0][2] == pytest.approx(SMALL.learning_rate) and curve[2][2] < curve[1][2] < curve[0][2]
    assert [one.step for one in small.progress][-1] == 3 and small.progress[-1].eta == 0
    assert keras.train(small.job)["resumed_from"] == 3  # nothing is done again

    frozen = export(keras, small, tmp_path / "export")
    assert (tmp_path / "export" / "pipeline.config").read_bytes() == small.job.pipeline_config.read_bytes()
    images = [sample.image for sample in read_samples(small.job.validation_records, 2)]
    assert_converts(frozen, small.job.pipeline_config, images, tmp_path)


@pytest.mark.slow
def test_a_checkpoint_gives_what_fits_and_the_rest_is_listed(
    keras: OdapiChild, data: Data, small: Trained, trained: Trained, tmp_path: Path
) -> None:
    """An object-based checkpoint, of a head with three classes, for one with five; as a whole, and in parts."""
    settings = replace(SMALL, steps=1, learning_rate=1e-9)

    def tuned(name: str, kind: str = "", checkpoint: Path = small.checkpoint, classes: int = 5) -> dict:
        job = replace(data.job(tmp_path / name, settings), fine_tune_checkpoint=checkpoint)
        config = render(settings, num_classes=classes)
        chosen = f'train_config {{ fine_tune_checkpoint_type: "{kind}"' if kind else "train_config {"
        job.pipeline_config.write_text(config.replace("train_config {", chosen))
        labels = tmp_path / "labels.pbtxt"
        labels.write_text(job.label_map.read_text() + FIVE_LABELS * (classes == 5))
        return dict(keras.train(replace(job, label_map=labels))["fine_tune"])

    whole = tuned("whole")
    heads = {one["name"]: one for one in whole["skipped"]}
    assert len(heads) == 12 and all("ClassPredictor" in name for name in heads)
    bias = heads["BoxPredictor/ConvolutionalClassHead_0/ClassPredictor/bias"]
    assert (bias["checkpoint"], bias["model"]) == ([3 * 4], [3 * 6])

    extractor = tuned("extractor", "detection")  # as the API does: the predictor is not looked at
    assert extractor["skipped"] == [] and extractor["loaded"] == whole["loaded"] - 12

    same = replace(data.job(tmp_path / "same", settings), fine_tune_checkpoint=small.checkpoint)
    facts = keras.train(same)
    assert facts["fine_tune"]["skipped"] == [] and facts["fine_tune"]["loaded"] == whole["loaded"] + 12
    before = keras.evaluate(small.evaluation(tmp_path / "before"))["losses"]["Loss/localization_loss"]
    moved = replace(small.evaluation(tmp_path / "after"), checkpoint=same.model_dir / facts["checkpoint"])
    assert keras.evaluate(moved)["losses"]["Loss/localization_loss"] == pytest.approx(before, rel=0.1)

    with pytest.raises(TrainingError, match="is of another kind") as caught:
        tuned("named", checkpoint=trained.checkpoint)
    assert "TensorFlow 1" in caught.value.why
    with pytest.raises(TrainingError, match="cannot be read"):
        tuned("none", checkpoint=tmp_path / "none")


@pytest.mark.slow
def test_sigkill_costs_only_the_steps_since_the_checkpoint(keras: OdapiChild, data: Data, tmp_path: Path) -> None:
    cut = data.job(tmp_path, replace(SMALL, steps=1000))
    saved = cut_training(cut, tmp_path / "log", "ckpt-*.index")
    facts = keras.train(data.job(tmp_path, replace(SMALL, steps=saved + 3)))
    assert facts["resumed_from"] == saved >= 2
    steps = [step for step, _, _ in json.loads((cut.model_dir / "loss.json").read_text())]
    assert steps == sorted(set(steps)) and steps[-1] == saved + 3 and len(steps) >= saved + 2
    assert facts["checkpoint"] == f"trained/ckpt-{saved + 3}" and not list(cut.model_dir.glob("ckpt-*"))


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training(keras: OdapiChild, data: Data, tmp_path: Path) -> None:
    job = data.job(tmp_path, replace(SMALL, steps=30, learning_rate=1e20, warmup_steps=0))
    with pytest.raises(TrainingError, match="training stopped: the loss became"):
        keras.train(job)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rms_prop_optimizer { decay: 0.9", "momentum_optimizer {"])
def test_other_peoples_optimizers_and_moving_averages(
    keras: OdapiChild, data: Data, tmp_path: Path, optimizer: str
) -> None:
    """The learning rate is the schedule's in every step, and what is evaluated and kept are the averages."""
    job = data.job(tmp_path, replace(SMALL, steps=3), evaluate_every=2, keep_checkpoints=2)
    text = job.pipeline_config.read_text().replace("use_moving_average: false", "use_moving_average: true")
    job.pipeline_config.write_text(text.replace("adam_optimizer {", optimizer))
    facts = keras.train(job)
    best = facts["validation"]["best"]
    measured = keras.evaluate(Trained(job, facts, []).evaluation(tmp_path / "eval"))
    assert (measured["step"], measured["mAP"]) == (best["step"], pytest.approx(best["map"], abs=1e-4))
    kept = {path.name for path in job.model_dir.glob("trained/*.index")}
    assert kept == {"ckpt-2.index", "ckpt-3.index"}  # the last two


#: Prints whether each kernel is the same in two checkpoints.
KERNELS = """
import json, sys, tensorflow as tf
one, other = map(tf.train.load_checkpoint, sys.argv[1:])
keys = [key for key in one.get_variable_to_shape_map() if key.endswith("kernel/.ATTRIBUTES/VARIABLE_VALUE")]
print(json.dumps({key: bool((one.get_tensor(key) == other.get_tensor(key)).all()) for key in keys}))
"""


@pytest.mark.slow
def test_frozen_variables_stay_as_they_were(keras: OdapiChild, data: Data, small: Trained, tmp_path: Path) -> None:
    job = replace(data.job(tmp_path, replace(SMALL, steps=2)), fine_tune_checkpoint=small.checkpoint)
    frozen = 'train_config { freeze_variables: "^(?!BoxPredictor)"'
    job.pipeline_config.write_text(job.pipeline_config.read_text().replace("train_config {", frozen))
    after = job.model_dir / keras.train(job)["checkpoint"]
    command = [sys.executable, "-c", KERNELS, str(small.checkpoint), str(after)]
    same = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert len(same) > 30 and all(still == ("_box_predictor" not in key) for key, still in same.items())


@pytest.mark.slow
def test_one_process_changes_its_kind(keras: OdapiChild, small: Trained, trained: Trained, tmp_path: Path) -> None:
    before = keras.pid
    keras.export(ExportJob(trained.job.pipeline_config, trained.checkpoint, tmp_path))
    assert keras.pid != before
    export(keras, small, tmp_path / "keras")


@pytest.mark.slow
def test_a_pyramid_learns_the_shapes_from_nothing_and_from_a_checkpoint(keras: OdapiChild, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    data = Data(folder, prepare(SyntheticSource(train_images=400, validation_images=40), folder))
    settings = replace(PYRAMID, width=160, height=160, steps=250)

    def learned(name: str, settings: ModelSettings, **changes: Path) -> tuple[Trained, dict]:
        job = data.job(tmp_path / name, settings, checkpoint_every=100, **changes)
        job.pipeline_config.write_text(render(settings, 3))
        trained = Trained(job, keras.train(job), [])
        return trained, keras.evaluate(trained.evaluation(tmp_path / name / "eval"))

    first, metrics = learned("nothing", settings)
    assert metrics["mAP@0.5"] >= 0.7, metrics
    gentle = replace(settings, steps=30, learning_rate=0.0004)  # at the rate of a beginning it would unlearn first
    tuned, again = learned("tuned", gentle, fine_tune_checkpoint=first.checkpoint)
    assert tuned.facts["fine_tune"]["skipped"] == [] and again["mAP@0.5"] >= 0.7
    frozen = export(keras, tuned, tmp_path / "export")
    samples = read_samples(tuned.job.validation_records)
    found = keras.infer(frozen, [sample.image for sample in samples])
    stats, per_class = pycocotools_numbers(samples, found)
    assert [again["mAP"], again["mAP@0.5"]] == pytest.approx(stats[:2].tolist(), abs=1e-3)
    names = ("circle", "square", "triangle")
    assert [again["per_class"][name]["AP@0.5"] for name in names] == pytest.approx(list(per_class.values()), abs=1e-3)
    assert len(again["coco"]) == 12 and again["images"] == 40 and again["step"] == 30
    assert again["losses"]["Loss/total_loss"] > 0 and list((tmp_path / "tuned").rglob("events.out.tfevents.*"))
    assert_converts(frozen, tuned.job.pipeline_config, [sample.image for sample in samples[:3]], tmp_path)
