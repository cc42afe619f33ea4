"""The pipeline.config that a spec asks to train by."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from jetlane.specs.defaults import DEFAULT_STEPS
from jetlane.specs.schema import RunSpec
from jetlane.tasks.odapi.batch_size import fitting
from jetlane.tasks.odapi.pipeline import ModelSettings, overlay, render
from jetlane.tasks.odapi.train_settings import configure, steps_of

_BATCH_SIZE = 16
_LEARNING_RATE = 0.004
#: Keys of the train section that ``configure`` knows.
_SETTINGS = (
    *("schedule", "warmup_learning_rate", "optimizer", "ema", "regularizer", "clip_gradients", "augmentation"),
    "freeze",
)

#: Pixels of a template's input where the spec gives none; a feature pyramid needs multiples of 32.
_SIDE, _PYRAMID_SIDE = 300, 320


def pipeline_config(spec: RunSpec, num_classes: int, images: Optional[int] = None) -> str:
    """The text of the pipeline.config to train by: a filled-in template, or the user's own with what must change.

    Args:
        images: Images to train on; None where they are not counted yet: a number of epochs then is as good as none.

    Raises:
        SpecError: Spec and config do not go together.
    """
    from google.protobuf import text_format

    from jetlane.tasks.converter.ssd import config

    train = spec.train
    batch_size = fitting(spec) if train.batch_size == "auto" else train.batch_size
    text = _unconfigured(spec, num_classes, images, batch_size)
    if all(getattr(train, name) is None for name in _SETTINGS):
        return text
    message: Any = config.parse(text).message
    configure(train, message, train.learning_rate or _LEARNING_RATE)
    return str(text_format.MessageToString(message))


def _unconfigured(spec: RunSpec, num_classes: int, images: Optional[int], batch_size: Optional[int]) -> str:
    model, train = spec.model, spec.train
    if model.pipeline_config is not None:
        path = Path(model.pipeline_config)
        own = batch_size or _batch_size_of(path)
        steps = steps_of(train, images, own) or (DEFAULT_STEPS if train.epochs else None)
        return overlay(path, num_classes, steps=steps, batch_size=batch_size)
    batch_size = batch_size or _BATCH_SIZE
    architecture = model.architecture or "ssd_mobilenet_v2"
    side = _PYRAMID_SIDE if "fpn" in architecture else _SIDE
    settings = ModelSettings(
        architecture=architecture,
        width=model.width or side,
        height=model.height or side,
        depth_multiplier=model.depth_multiplier or 1.0,
        batch_size=batch_size,
        steps=steps_of(train, images, batch_size) or DEFAULT_STEPS,
        learning_rate=train.learning_rate or _LEARNING_RATE,
        warmup_steps=train.warmup_steps,
    )
    return render(settings, num_classes)


def _batch_size_of(path: Path) -> int:
    from jetlane.tasks.converter.ssd import config

    return int(config.read(path).message.train_config.batch_size)
