"""The pipeline.config that a spec asks to train by."""

from __future__ import annotations

from pathlib import Path

from jetlane.specs.defaults import DEFAULT_STEPS
from jetlane.specs.schema import RunSpec
from jetlane.tasks.odapi.pipeline import ModelSettings, overlay, render


def pipeline_config(spec: RunSpec, num_classes: int) -> str:
    """The text of the pipeline.config to train by: a filled-in template, or the user's own with what must change.

    Raises:
        SpecError: Spec and config do not go together.
    """
    model, train = spec.model, spec.train
    if model.pipeline_config is not None:
        return overlay(Path(model.pipeline_config), num_classes, steps=train.steps, batch_size=train.batch_size)
    settings = ModelSettings(
        architecture=model.architecture or "ssd_mobilenet_v2",
        width=model.width or 300,
        height=model.height or 300,
        depth_multiplier=model.depth_multiplier or 1.0,
        batch_size=train.batch_size or 16,
        steps=train.steps or DEFAULT_STEPS,
        learning_rate=train.learning_rate or 0.004,
        warmup_steps=train.warmup_steps,
    )
    return render(settings, num_classes)
