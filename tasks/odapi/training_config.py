"""The pipeline.config that a spec asks to train by."""

from __future__ import annotations

from pathlib import Path

from jetlane.specs.defaults import DEFAULT_STEPS
from jetlane.specs.schema import RunSpec
from jetlane.tasks.odapi.pipeline import ModelSettings, overlay, render

#: Pixels of a template's input where the spec gives none; a feature pyramid needs multiples of 32.
_SIDE, _PYRAMID_SIDE = 300, 320


def pipeline_config(spec: RunSpec, num_classes: int) -> str:
    """The text of the pipeline.config to train by: a filled-in template, or the user's own with what must change.

    Raises:
        SpecError: Spec and config do not go together.
    """
    model, train = spec.model, spec.train
    if model.pipeline_config is not None:
        return overlay(Path(model.pipeline_config), num_classes, steps=train.steps, batch_size=train.batch_size)
    architecture = model.architecture or "ssd_mobilenet_v2"
    side = _PYRAMID_SIDE if "fpn" in architecture else _SIDE
    settings = ModelSettings(
        architecture=architecture,
        width=model.width or side,
        height=model.height or side,
        depth_multiplier=model.depth_multiplier or 1.0,
        batch_size=train.batch_size or 16,
        steps=train.steps or DEFAULT_STEPS,
        learning_rate=train.learning_rate or 0.004,
        warmup_steps=train.warmup_steps,
    )
    return render(settings, num_classes)
