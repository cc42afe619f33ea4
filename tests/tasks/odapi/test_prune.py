"""Pruning: channels that are zero can go and nothing changes; and what is pruned is trained, evaluated and exported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.odapi.conftest import TINY, Data, Trained
from tests.tasks.odapi.cut_training import cut_training
from tests.tasks.odapi.test_architectures import ARCHITECTURES, Architecture
from tests.tasks.odapi.test_keys_in_training import values

from jetlane.specs.errors import TrainingError
from jetlane.tasks.data.examples import read_samples
from jetlane.tasks.odapi.child import channel_choice
from jetlane.tasks.odapi.client import EvaluateJob, ExportJob, OdapiChild, PruneJob

HALF: dict[str, Any] = {
    "fraction": 0.5,
    "threshold": None,
    "norm": "l2",
    "equalization": "union",
    "granularity": 8,
    "minimum": 8,
    "exclude": [],
}
#: Networks whose channels are traced in ways of their own.
PRUNED = (
    *("ssd_mobilenet_v1", "ssd_mobilenet_v2", "ssd_mobilenet_v3_small", "ssd_inception_v2", "ssd_mobiledet_cpu"),
    *("ssd_mobilenet_v1_ppn", "ssd_mobilenet_v1_fpn", "ssd_resnet50_v1_fpn"),
)
TRIED = {one.extractor: one for one in ARCHITECTURES if one.extractor in PRUNED}


def test_how_many_stay() -> None:
    strength = np.linspace(0.1, 1, 30)
    for changes, full, number in (
        ({}, 30, 16),
        ({"granularity": 1}, 30, 15),
        ({"fraction": 0.4}, 40, 24),
        ({"fraction": 0.4, "granularity": 1}, 50, 30),  # pruned to that before
        ({"fraction": 0.99, "minimum": 12}, 30, 12),
        ({"fraction": None, "threshold": 0.95}, 30, 8),
        ({"fraction": None, "threshold": 0.5, "granularity": 1}, 30, 17),
    ):
        assert channel_choice.count(strength, full, {**HALF, **changes}) == number, changes


def test_how_much_a_channel_matters() -> None:
    kernel = np.zeros((1, 1, 2, 3))
    kernel[0, 0] = [[3, 0, 6], [4, 5, -8]]
    other = np.ones((3, 3, 1, 2))
    alone = [(kernel, np.array([0, 1, 2]))]
    assert np.allclose(channel_choice.strengths(alone, "l2", "union"), [0.5, 0.5, 1])
    assert np.allclose(channel_choice.strengths(alone, "l1", "union"), [0.5, 5 / 14, 1])
    added = [(kernel, np.array([1, 2])), (other, np.array([0, 1]))]
    for equalization, found in (
        ("union", [1, 1]),
        ("intersection", [0.5, 1]),
        ("arithmetic_mean", [0.75, 1]),
        ("geometric_mean", [0.5**0.5, 1]),
    ):
        assert np.allclose(channel_choice.strengths(added, "l2", equalization), found), equalization
    assert channel_choice.strongest(np.array([0.2, 0.9, 0.2, 0.5]), 3).tolist() == [0, 1, 3]


def zeroed(architecture: Architecture, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    architecture.pipeline_config(folder / "pipeline.config")
    program = str(Path(__file__).with_name("zeroed_channels.py"))
    arguments = [str(folder / "pipeline.config"), str(folder), json.dumps(settings)]
    done = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("extractor", PRUNED)
def test_channels_that_are_zero_can_go(tmp_path: Path, extractor: str) -> None:
    facts = zeroed(TRIED[extractor], tmp_path, HALF)
    assert facts["apart"] < 2e-5 < 1e-3 < facts["shows"], facts
    assert facts["parameters"][1] < 0.65 * facts["parameters"][0]
    assert all(1 <= row["after"] <= row["before"] for row in facts["layers"])


@pytest.mark.slow
@pytest.mark.tensorflow
def test_widths_that_are_equal_by_chance_make_no_residual(tmp_path: Path) -> None:
    """The API adds a block's input to its output where both have as many channels; 32 and 16 would both have 16."""
    one = replace(TRIED["ssd_mobilenet_v2"], depth_multiplier=1)
    facts = zeroed(one, tmp_path, {**HALF, "granularity": 16, "minimum": 16, "norm": "l1", "exclude": ["Conv_1/"]})
    assert facts["apart"] < 2e-5 < 1e-3 < facts["shows"], facts
    widths = {row["layer"].rpartition("MobilenetV2/")[2]: row["after"] for row in facts["layers"]}
    assert widths["Conv"] == 32 and widths["expanded_conv/project"] == 16
    assert widths["Conv_1"] == 1280 and widths["expanded_conv_1/expand"] == 48


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_pruned_network_is_trained_on(child: OdapiChild, data: Data, trained: Trained, tmp_path: Path) -> None:
    """Resumed after a kill, evaluated on its way, exported, pruned further; the table of widths is all it needs."""
    pruned, job = prune(child, trained.job.pipeline_config, trained.checkpoint, tmp_path / "pruned")
    assert pruned["parameters"][1] < 0.65 * pruned["parameters"][0]

    again = data.job(tmp_path / "again", replace(TINY, steps=6), fine_tune_checkpoint=job.out, evaluate_every=3)
    last = cut_training(again, tmp_path / "cut.log", "model.ckpt-*.index")
    facts = child.train(again)
    assert facts["resumed_from"] == last and facts["steps"] == 6
    assert facts["validation"]["evaluations"][-1]["step"] == 6
    checkpoint = again.model_dir / facts["checkpoint"]
    assert json.loads(Path(f"{checkpoint}.widths.json").read_text()) == json.loads(
        Path(f"{job.out}.widths.json").read_text()
    )
    child.evaluate(EvaluateJob(again.pipeline_config, again.validation_records, again.label_map, checkpoint, tmp_path))
    child.export(ExportJob(again.pipeline_config, checkpoint, tmp_path / "export"))
    frozen = tmp_path / "export" / "frozen_inference_graph.pb"
    assert child.infer(frozen, [sample.image for sample in read_samples(again.validation_records, 1)])
    constants = sum(value.size for value in values(frozen, tmp_path).values())
    assert abs(constants / pruned["parameters"][1] - 1) < 0.1

    more, _ = prune(child, again.pipeline_config, checkpoint, tmp_path / "more", fraction=0.5)
    assert more["parameters"][0] == more["parameters"][1] == pruned["parameters"][1]  # of the widths before any pruning
    more, _ = prune(child, again.pipeline_config, checkpoint, tmp_path / "less", fraction=0.7)
    assert more["parameters"][1] < more["parameters"][0]


@pytest.mark.slow
@pytest.mark.tensorflow
def test_what_cannot_be_is_said(child: OdapiChild, data: Data, trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"exclude: no layer that can be pruned has no_such_layer in its name"):
        prune(child, trained.job.pipeline_config, trained.checkpoint, tmp_path / "none", exclude=["no_such_layer"])
    _, job = prune(child, trained.job.pipeline_config, trained.checkpoint, tmp_path / "pruned")
    other = replace(TINY, architecture="ssd_mobilenet_v1", steps=1)
    with pytest.raises(TrainingError, match="a pruned network of another architecture"):
        child.train(data.job(tmp_path / "other", other, fine_tune_checkpoint=job.out))
    Path(f"{job.out}.widths.json").write_text('{"kept": {"a": "b"}, "of": {}}')
    with pytest.raises(TrainingError, match=r"widths\.json cannot be read"):
        child.evaluate(replace(trained.evaluation(tmp_path / "damaged"), checkpoint=job.out))


def prune(
    child: OdapiChild, config: Path, checkpoint: Path, folder: Path, **changes: Any
) -> tuple[dict[str, Any], PruneJob]:
    job = PruneJob(config, checkpoint, folder / "model.ckpt", {**HALF, **changes})
    return child.prune(job), job
