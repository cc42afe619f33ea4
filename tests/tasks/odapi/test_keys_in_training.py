"""What keys of the train section make of a real training: frozen layers, moving averages, rates, augmentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.odapi.conftest import Data, Trained

from jetlane.specs.errors import TrainingError
from jetlane.specs.load import spec_from_data
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild, TrainJob
from jetlane.tasks.odapi.train_settings import BACKBONE
from jetlane.tasks.odapi.training_config import pipeline_config

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow]

AVERAGE = "/ExponentialMovingAverage"
#: Writes the values of a checkpoint, or of a frozen graph's constants, to an .npz.
READ = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf
source, out = sys.argv[1:]
if source.endswith(".pb"):
    graph = tf.GraphDef.FromString(open(source, "rb").read())
    nodes = [node for node in graph.node if node.op == "Const"]
    values = {node.name: tf.make_ndarray(node.attr["value"].tensor) for node in nodes}
    values = {name: value for name, value in values.items() if value.dtype == np.float32}
else:
    reader = tf.train.NewCheckpointReader(source)
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
np.savez(out, **{name.replace("/", "|"): value for name, value in values.items()})
"""


def values(source: Path, folder: Path) -> dict[str, np.ndarray]:
    out = folder / f"{source.name}.npz"
    subprocess.run([sys.executable, "-c", READ, str(source), str(out)], check=True, capture_output=True)
    with np.load(out) as found:
        return {name.replace("|", "/"): found[name] for name in found}


def job(data: Data, folder: Path, start: Path, train: dict[str, Any], **more: Any) -> TrainJob:
    """A training of a small network as a spec's train section says."""
    spec = {
        "name": "a",
        "dataset": {"shapes": {}},
        "model": {"width": 96, "height": 96, "depth_multiplier": 0.35},
        "train": {"batch_size": 2, "fine_tune_checkpoint": str(start), **train},
    }
    made = replace(data.job(folder), fine_tune_checkpoint=start, **more)
    made.pipeline_config.write_text(pipeline_config(spec_from_data(spec, folder), 3))
    return made


def test_frozen_layers_averages_and_rates(child: OdapiChild, data: Data, trained: Trained, tmp_path: Path) -> None:
    keys = {
        "steps": 6,
        "learning_rate": 0.01,
        "optimizer": "momentum",
        "schedule": {"kind": "exponential", "decay_steps": 2, "decay_factor": 0.5},
        "augmentation": "medium",
        "clip_gradients": 5.0,
        "freeze": "backbone",
        "ema": 0.5,
    }
    asked = job(data, tmp_path, trained.checkpoint, keys, evaluate_every=6, keep_checkpoints=2)
    facts = child.train(asked)
    assert facts["fine_tune"]["skipped"] == []
    rates = [rate for _, _, rate in json.loads((asked.model_dir / facts["loss_curve"]).read_text())]
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    assert {path.stem for path in asked.model_dir.glob("trained/*.index")} == {"model.ckpt-5", "model.ckpt-6"}

    before, after = values(trained.checkpoint, tmp_path), values(asked.model_dir / facts["checkpoint"], tmp_path)
    backbone = [name for name in before if re.search(BACKBONE, name) and name in after]
    assert len(backbone) > 250 and any("moving_variance" in name for name in backbone)
    assert [name for name in backbone if before[name].tobytes() != after[name].tobytes()] == []
    learnt = [name for name in before if name.endswith("weights") and not re.search(BACKBONE, name) and "/" in name]
    assert {name.split("/")[0] for name in learnt} >= {"BoxPredictor_0", "FeatureExtractor"}
    assert all(before[name].tobytes() != after[name].tobytes() for name in learnt)

    averaged = [name[: -len(AVERAGE)] for name in after if name.endswith(AVERAGE)]
    exported = tmp_path / "exported"
    child.export(ExportJob(asked.pipeline_config, asked.model_dir / facts["checkpoint"], exported))
    graph = values(exported / "frozen_inference_graph.pb", tmp_path)
    shipped = [name for name in averaged if name in graph]
    assert len(shipped) > 100
    assert all(np.array_equal(graph[name], after[name + AVERAGE]) for name in shipped)
    assert any(not np.array_equal(graph[name], after[name]) for name in shipped)

    place = asked.model_dir / facts["checkpoint"]
    measured = child.evaluate(
        EvaluateJob(asked.pipeline_config, asked.validation_records, asked.label_map, place, tmp_path / "evaluated")
    )
    assert measured["mAP"] == pytest.approx(facts["validation"]["best"]["map"], abs=1e-4)


def test_a_checkpoint_with_averages_is_started_from(
    child: OdapiChild, data: Data, trained: Trained, tmp_path: Path
) -> None:
    first = job(data, tmp_path / "first", trained.checkpoint, {"steps": 2, "ema": 0.9, "augmentation": "strong"})
    start = first.model_dir / child.train(first)["checkpoint"]
    second = job(data, tmp_path / "second", start, {"steps": 2, "schedule": {"kind": "constant"}, "warmup_steps": 1})
    facts = child.train(second)
    assert facts["fine_tune"]["loaded"] > 200 and facts["fine_tune"]["skipped"] == []


@pytest.mark.parametrize(
    ("patterns", "words"), [(["no_such_layer"], "no variable's name has no_such_layer"), (["."], "nothing is left")]
)
def test_patterns_that_freeze_nothing_or_all(
    child: OdapiChild, data: Data, trained: Trained, tmp_path: Path, patterns: list[str], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        child.train(job(data, tmp_path, trained.checkpoint, {"steps": 2, "freeze": patterns}))
