"""Rendered and overlaid pipeline.configs, read back through the OD API's schema."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from jetlane.specs.errors import SpecError
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.odapi.pipeline import ModelSettings, architectures, overlay, render


def test_the_first_architecture_is_bundled() -> None:
    assert "ssd_mobilenet_v2" in architectures()


#: Of templates that are named otherwise than the extractor of their model.
EXTRACTORS = {
    "ssdlite_mobilenet_v2": "ssd_mobilenet_v2",
    "ssd_mobilenet_v1_fpn": "ssd_mobilenet_v1_fpn_keras",
    "ssd_mobilenet_v2_fpnlite": "ssd_mobilenet_v2_fpn_keras",
    "ssd_resnet50_v1_fpn": "ssd_resnet50_v1_fpn_keras",
}


@pytest.mark.parametrize("architecture", architectures())
def test_every_template_renders(architecture: str) -> None:
    settings = ModelSettings(architecture, 320, 224, 0.5, batch_size=8, steps=1200, learning_rate=0.002)
    message = config.parse(render(settings, num_classes=7)).message
    ssd, train = message.model.ssd, message.train_config
    assert ssd.num_classes == 7
    resizer = ssd.image_resizer.fixed_shape_resizer
    assert (resizer.width, resizer.height) == (320, 224)
    assert ssd.feature_extractor.type == EXTRACTORS.get(architecture, architecture)
    assert ssd.feature_extractor.depth_multiplier == 0.5
    assert ssd.feature_extractor.use_depthwise == ("lite" in architecture)
    assert (train.batch_size, train.num_steps) == (8, 1200)
    cosine = train.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    assert (cosine.total_steps, cosine.warmup_steps) == (1200, 100)
    assert cosine.learning_rate_base == pytest.approx(0.002)
    assert not train.optimizer.use_moving_average
    assert list(message.eval_config.metrics_set) == ["coco_detection_metrics"]
    assert "$" not in render(settings, 7)


def test_no_place_on_this_machine_is_named() -> None:
    message = config.parse(render(ModelSettings(), 3)).message
    for reader in (message.train_input_reader, message.eval_input_reader[0]):
        assert not reader.label_map_path.startswith("/")
        assert not reader.tf_record_input_reader.input_path[0].startswith("/")


def test_an_unknown_architecture() -> None:
    with pytest.raises(SpecError, match="ssd_mobilenet_v9 is not bundled") as caught:
        render(ModelSettings(architecture="ssd_mobilenet_v9"), 3)
    assert "ssd_mobilenet_v2" in caught.value.why


def test_a_warm_up_longer_than_the_training() -> None:
    with pytest.raises(SpecError, match=r"warmup_steps: 600 is not below train\.steps, 600"):
        render(ModelSettings(warmup_steps=600), 3)


def _own(tmp_path: Path, change: tuple[str, str] = ("", "")) -> Path:
    path = tmp_path / "own.config"
    path.write_text(render(replace(ModelSettings(), width=256), 90).replace(*change))
    return path


def test_the_overlay_changes_what_must_change(tmp_path: Path) -> None:
    second = 'eval_input_reader { name: "first" shuffle: true } eval_input_reader {'
    path = _own(tmp_path, ("eval_input_reader {", second))
    before = config.read(path).message
    after = config.parse(overlay(path, 4, steps=2400, batch_size=2)).message
    assert after.model.ssd.num_classes == 4
    assert (after.train_config.num_steps, after.train_config.batch_size) == (2400, 2)
    cosine = after.train_config.optimizer.adam_optimizer.learning_rate.cosine_decay_learning_rate
    assert (cosine.total_steps, cosine.warmup_steps) == (2400, 50)
    assert len(after.eval_input_reader) == 1 and after.eval_input_reader[0].shuffle is False
    after.model.ssd.num_classes = 90
    assert after.model == before.model


def test_the_overlay_keeps_what_is_not_asked_for(tmp_path: Path) -> None:
    after = config.parse(overlay(_own(tmp_path), 90)).message
    assert after == config.read(_own(tmp_path)).message


def test_steps_must_come_from_somewhere(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"own\.config:\d+: the number of steps is not given"):
        overlay(_own(tmp_path, ("num_steps: 600", "")), 3)


def test_a_fine_tune_checkpoint_belongs_into_the_spec(tmp_path: Path) -> None:
    path = _own(tmp_path, ("train_config {", 'train_config {\n  fine_tune_checkpoint: "PATH/model.ckpt"'))
    with pytest.raises(SpecError, match=r"own\.config:\d+: fine_tune_checkpoint is set") as caught:
        overlay(path, 3)
    assert "train.fine_tune_checkpoint" in caught.value.remedy
