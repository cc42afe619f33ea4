"""The train section of a spec: how long, how fast, from where, and which of its checkpoints is taken."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Optional, Union

from pydantic import Field, StringConstraints, model_validator

from jetlane.specs.paths import CheckpointPath, Program, ReleasePath, SourcePath
from jetlane.specs.section import Section, ShortSection
from jetlane.specs.support import secrets

Steps = Annotated[int, Field(ge=1, le=10_000_000)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
LearningRate = Annotated[float, Field(gt=0, le=10)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
#: As ``section.Address`` has it: Prefect's server takes no URL with a secret into its database.
_NO_SECRET: dict[str, Any] = {"not": {"pattern": secrets.PATTERN}}
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Optimizer(ShortSection):
    """Which optimiser; what is not given is the API's default. A text is its kind."""

    SHORT = "kind"
    SHORT_SCHEMA: ClassVar = {"type": "string", "enum": ["adam", "momentum", "rms_prop"]}

    kind: Literal["adam", "momentum", "rms_prop"] = Field(description="Adam, SGD with momentum, or RMSprop")
    momentum: Optional[Fraction] = Field(default=None, description="of momentum and rms_prop; default: 0.9")
    decay: Optional[Fraction] = Field(default=None, description="of rms_prop's mean square; default: 0.9")
    epsilon: Optional[Annotated[float, Field(gt=0, le=10)]] = Field(
        default=None, description="of adam and rms_prop; default: 1e-8 and 1"
    )


class RateFrom(Section):
    """A learning rate, and the step from which it holds."""

    step: Steps
    learning_rate: LearningRate


class Schedule(Section):
    """How the learning rate changes after the warm-up, starting from train.learning_rate."""

    kind: Literal["cosine", "constant", "exponential", "steps"] = Field(
        description="falling to 0 along a cosine, not at all, by a factor every so many steps, or as listed"
    )
    hold_steps: Optional[Annotated[int, Field(ge=0)]] = Field(
        default=None, description="of cosine: steps at the peak before it falls; default: 0"
    )
    decay_steps: Optional[Steps] = Field(
        default=None, description="of exponential: steps between two decays; default: a tenth of the steps"
    )
    decay_factor: Optional[Annotated[float, Field(gt=0, le=1)]] = Field(
        default=None, description="of exponential; default: 0.5"
    )
    staircase: Optional[bool] = Field(
        default=None, description="of exponential: at once every decay_steps, not little by little; default: true"
    )
    min_learning_rate: Optional[Annotated[float, Field(ge=0, le=10)]] = Field(
        default=None, description="of exponential: it falls no further; default: 0"
    )
    steps: Optional[Annotated[list[RateFrom], Field(min_length=1, max_length=100)]] = Field(
        default=None, description="of steps: the rates and the steps from which they hold"
    )


class Regularizer(ShortSection):
    """The penalty on the weights of all layers that have one in the pipeline.config. A number is the weight of l2."""

    SHORT = "weight"
    SHORT_SCHEMA: ClassVar = {"type": "number", "minimum": 0, "maximum": 10}

    kind: Literal["l1", "l2"] = Field(default="l2", description="of absolute values, or of squares")
    weight: Annotated[float, Field(ge=0, le=10)] = Field(description="0 for none")


class Prune(ShortSection):
    """After the training the weakest channels of all layers go, and it is trained again. A number is the fraction."""

    SHORT = "fraction"
    SHORT_SCHEMA: ClassVar = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}

    fraction: Optional[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=None, description="share of each layer's channels that go, of those before any pruning"
    )
    threshold: Optional[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=None,
        description="instead of fraction: channels go whose norm is below this share of the largest in their layer",
    )
    norm: Literal["l1", "l2"] = Field(default="l2", description="of a channel's weights: how much it matters")
    equalization: Literal["union", "intersection", "arithmetic_mean", "geometric_mean"] = Field(
        default="union",
        description="how much channels matter that are added to each other and can go together only: as the strongest "
        "of them, the weakest, or their mean",
    )
    granularity: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=8, description="as many channels, or a multiple, stay of each layer: what stays is rounded up to it"
    )
    minimum: Annotated[int, Field(ge=1, le=65_536)] = Field(
        default=8, description="fewest channels of a layer; one that has no more stays as it is"
    )
    exclude: Annotated[list[Pattern], Field(max_length=100)] = Field(
        default=[],
        description="layers that keep their channels: patterns searched in the names of their weights, as "
        "`[MobilenetV2/Conv/, expanded_conv_1/]`",
    )
    steps: Optional[Steps] = Field(
        default=None, description="of the training afterwards; default: as many as of the one before"
    )
    learning_rate: Optional[LearningRate] = Field(
        default=None, description="highest of the training afterwards; default: that of the one before"
    )


class StartFrom(ShortSection):
    """A trained model to go on from; what does not fit, such as the heads of other classes, starts anew and is told.

    As a text: `live`, a checkpoint's prefix, or an archive.
    """

    SHORT = "checkpoint"
    SHORT_SCHEMA: ClassVar = {"type": "string", "minLength": 1, **_NO_SECRET}

    live: bool = Field(
        default=False,
        description="the model that this spec's fleet runs; before the first, what else is named here, or from nothing",
    )
    release: Optional[ReleasePath] = Field(
        default=None, description="a release made in this workspace, by its name or folder"
    )
    checkpoint: Optional[CheckpointPath] = Field(default=None, description="prefix of a checkpoint's files")
    archive: Optional[SourcePath] = Field(
        default=None,
        description=".tar.gz of a model zoo, with a checkpoint in it: a path, or a URL with its sha256",
        json_schema_extra=_NO_SECRET,
    )
    sha256: Optional[
        Annotated[
            str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(json_schema_extra={"words": "64 hex digits"})
        ]
    ] = Field(default=None, description="of the archive; another one is refused")

    @model_validator(mode="before")
    @classmethod
    def _of_value(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given == "live":
            return {"live": True}
        return {"archive" if _is_archive(given) else cls.SHORT: given}


def _is_archive(text: str) -> bool:
    return "://" in text or text.endswith((".tar.gz", ".tgz", ".tar"))


class Train(Section):
    """How the network is trained, in a process of its own. What is not given comes from the user's pipeline.config."""

    steps: Optional[Steps] = Field(default=None, description="optimiser steps; default: 20000")
    epochs: Optional[Annotated[float, Field(gt=0, le=100_000)]] = Field(
        default=None, description="the same in rounds through the training images; give one or the other"
    )
    batch_size: Optional[Union[Literal["auto"], BatchSize]] = Field(
        default=None,
        description="images per step; default: 16. `auto`: as many as half of the memory holds, of the GPU if there is "
        "one, at most 32",
    )
    learning_rate: Optional[LearningRate] = Field(
        default=None, description="highest of the schedule; default: 0.004, which suits adam"
    )
    warmup_steps: Optional[Annotated[int, Field(ge=0)]] = Field(
        default=None,
        description="steps in which the learning rate rises; default: a twelfth of the steps of cosine, 0 of others",
    )
    warmup_learning_rate: Optional[Annotated[float, Field(ge=0, le=10)]] = Field(
        default=None, description="that it rises from; default: a quarter of learning_rate"
    )
    schedule: Optional[Schedule] = None
    optimizer: Optional[Optimizer] = None
    ema: Optional[Annotated[float, Field(gt=0, lt=1)]] = Field(
        default=None,
        description="decay of moving averages of the weights, which are what is evaluated and exported, such as 0.999; "
        "default: none",
    )
    regularizer: Optional[Regularizer] = None
    clip_gradients: Optional[Annotated[float, Field(ge=0, le=1e6)]] = Field(
        default=None, description="largest norm of a variable's gradient; 0: they are not clipped"
    )
    augmentation: Optional[
        Union[
            Literal["none", "flip", "light", "medium", "strong"],
            Annotated[list[Union[Pattern, dict[Pattern, dict[str, Any]]]], Field(max_length=100)],
        ]
    ] = Field(
        default=None,
        description="how training images are varied: a preset, or the API's own options, as `[random_horizontal_flip, "
        "{random_adjust_hue: {max_delta: 0.02}}]`; default: flip",
    )
    freeze: Optional[Union[Literal["backbone"], Annotated[list[Pattern], Field(min_length=1, max_length=100)]]] = Field(
        default=None,
        description="what stays as it is in the checkpoint that training starts from: the backbone, or variables by "
        "patterns searched in their names, as `[MobilenetV2/Conv/, expanded_conv_1/]`; batch norm keeps its statistics",
    )
    gpus: Optional[Union[Literal["all"], Annotated[int, Field(ge=1, le=64)]]] = Field(
        default=None,
        description="GPUs of this machine that share every batch, each with a copy of the model: so many, or `all`; "
        "default: one, or the processor where there is none",
    )
    precision: Literal["fp32", "mixed"] = Field(default="fp32", description="arithmetic of the training")
    seed: Annotated[int, Field(ge=0)] = Field(default=0, description="of TensorFlow and the input pipeline")
    checkpoint_every: Annotated[int, Field(ge=1)] = Field(default=200, description="steps between checkpoints")
    keep_checkpoints: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="last checkpoints that stay in the workspace when training has ended, beside the best"
    )
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
        default=None, description="prefix of a checkpoint to start from; the same as start_from.checkpoint"
    )
    start_from: Optional[StartFrom] = None
    prune: Optional[Prune] = None
    sweep: Optional[Union[dict[Pattern, list[Any]], list[dict[Pattern, Any]]]] = Field(
        default=None,
        description="values of other keys of this section to try: `{learning_rate: [0.002, 0.004]}` for all "
        "combinations, or a list of `{key: value}`; the run goes on with the best by metric",
    )
    python: Optional[Program] = Field(
        default=None, description="interpreter with the Object Detection API; default: this one"
    )
