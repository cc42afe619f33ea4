"""The train section of a spec: how long, how fast, from where, and which of its checkpoints is taken."""

from __future__ import annotations

from typing import Annotated, Literal, Optional, Union

from pydantic import Field

from jetlane.specs.paths import CheckpointPath, Program
from jetlane.specs.section import Section

Steps = Annotated[int, Field(ge=1, le=10_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
LearningRate = Annotated[float, Field(gt=0, le=10)]


class Train(Section):
    """How the network is trained, in a process of its own. What is not given comes from the user's pipeline.config."""

    steps: Optional[Steps] = Field(default=None, description="optimiser steps; default: 20000")
    batch_size: Optional[BatchSize] = Field(default=None, description="images per step; default: 16")
    learning_rate: Optional[LearningRate] = Field(
        default=None, description="peak of the cosine schedule; default: 0.004"
    )
    warmup_steps: Optional[Annotated[int, Field(ge=0)]] = Field(
        default=None, description="default: a twelfth of the steps"
    )
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of TensorFlow and the input pipeline")
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(default=200, description="steps between checkpoints")
    evaluate_every: Union[Literal["auto"], Annotated[int, Field(ge=0)]] = Field(
        default="auto",
        description="steps between evaluations on the validation data, of which the best checkpoint is taken; 0: none, "
        "the last is taken; `auto`: 1000 or more, so that they take little of the time, and none in shorter trainings",
    )
    metric: Literal["map50", "map", "map75", "worst_class"] = Field(
        default="map50",
        description="what is best: mAP@0.5, COCO's mAP, mAP@0.75, or the least AP@0.5 of a class",
    )
    patience: Optional[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        default=None, description="evaluations without a gain after which training ends; default: it goes to its steps"
    )
    watch_loss: bool = Field(
        default=True, description="stop a training whose loss grows without bounds, or does not fall"
    )
    fine_tune_checkpoint: Optional[CheckpointPath] = Field(
        default=None, description="prefix of a checkpoint to start from"
    )
    python: Optional[Program] = Field(
        default=None, description="interpreter with the Object Detection API; default: this one"
    )
