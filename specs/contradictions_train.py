"""What holds between the keys of a spec's train section, and between them and the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from jetlane.specs import sweep
from jetlane.specs.defaults import DEFAULT_STEPS

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec
    from jetlane.specs.schema_train import Train

Found = tuple[tuple[str, ...], str]

#: Keys of one kind of schedule or optimiser alone.
_OF_SCHEDULE = {
    "hold_steps": ("cosine",),
    "decay_steps": ("exponential",),
    "decay_factor": ("exponential",),
    "staircase": ("exponential",),
    "min_learning_rate": ("exponential",),
    "steps": ("steps",),
}
_OF_OPTIMIZER = {"momentum": ("momentum", "rms_prop"), "decay": ("rms_prop",), "epsilon": ("adam", "rms_prop")}


def in_train(spec: RunSpec) -> Iterator[Found]:
    """The contradictions of a train section: (where, what is wrong and what would be right)."""
    train = spec.train
    yield from _length(train)
    yield from _rates(spec)
    yield from _schedule(train)
    if train.optimizer is not None:
        for key, kinds in _OF_OPTIMIZER.items():
            if getattr(train.optimizer, key) is not None and train.optimizer.kind not in kinds:
                yield ("train", "optimizer", key), f"is for {' and '.join(kinds)}, not for {train.optimizer.kind}"
    yield from _start(train)
    if train.sweep is not None:
        yield from _sweep(spec)
    if train.freeze is not None and train.fine_tune_checkpoint is None and train.start_from is None:
        yield ("train", "freeze"), "needs a checkpoint to start from: what was never trained would be frozen"
    if train.patience is not None and train.evaluate_every == 0:
        yield ("train", "patience"), "counts evaluations, and evaluate_every is 0"
    if train.prune is not None:
        yield from _prune(train)
    yield from _shares(train)
    if train.precision == "mixed":
        yield (
            ("train", "precision"),
            "mixed: TF1-style models are trained in fp32, as the Object Detection API scales no loss for them; "
            "build.precision is that of the boards",
        )


def _shares(train: Train) -> Iterator[Found]:
    if isinstance(train.gpus, int) and isinstance(train.batch_size, int) and train.batch_size % train.gpus:
        yield ("train", "batch_size"), f"{train.batch_size} images cannot be divided among {train.gpus} GPUs equally"


def _prune(train: Train) -> Iterator[Found]:
    at, asked = ("train", "prune"), train.prune
    assert asked is not None
    if (asked.fraction is None) == (asked.threshold is None):
        yield at, "needs fraction or threshold; give one or the other"
    if train.freeze is not None:
        yield at, "excludes freeze: what is frozen cannot make up for the channels that go"


def _sweep(spec: RunSpec) -> Iterator[Found]:
    from pydantic import ValidationError

    at, asked = ("train", "sweep"), spec.train.sweep
    number, wrong = sweep.count(asked), sweep.wrong_keys(asked)
    if not 1 <= number <= sweep.MOST:
        yield at, f"has {number} variants; 1 to {sweep.MOST} are trained"
    elif wrong:
        yield at, f"names {', '.join(wrong)}, which are the same for all variants"
    elif spec.train.start_from is not None and spec.train.start_from.live:
        yield at, "excludes start_from: live, which is another model after every rollout"
    else:
        for words, made in sweep.tried(spec):
            if isinstance(made, ValidationError):
                error = made.errors(include_url=False)[0]
                place = error.get("ctx", {}).get("at", error["loc"])
                yield at, f"cannot be trained with {words}: {'.'.join(map(str, place))}: {error['msg']}"


def _start(train: Train) -> Iterator[Found]:
    start = train.start_from
    if start is None:
        return
    if train.fine_tune_checkpoint is not None:
        yield ("train", "start_from"), "excludes fine_tune_checkpoint; give one or the other"
    named = [key for key in ("release", "checkpoint", "archive") if getattr(start, key) is not None]
    if len(named) > 1:
        yield ("train", "start_from", named[0]), f"excludes {named[1]}; give one or the other"
    elif not named and not start.live:
        yield ("train", "start_from"), "names nothing: live, release, checkpoint or archive"
    if start.sha256 is not None and start.archive is None:
        yield ("train", "start_from", "sha256"), "is for an archive"
    if start.archive is not None and "://" in start.archive:
        if not start.archive.startswith(("http://", "https://")):
            yield ("train", "start_from", "archive"), "is fetched by http or https alone"
        elif start.sha256 is None:
            yield ("train", "start_from", "archive"), "a URL needs start_from.sha256, as `sha256sum` prints it"


def _length(train: Train) -> Iterator[Found]:
    if train.epochs is not None and train.steps is not None:
        yield ("train", "epochs"), "excludes steps; give one or the other"
    if train.warmup_steps is not None and train.epochs is None and train.warmup_steps >= (train.steps or DEFAULT_STEPS):
        yield ("train", "warmup_steps"), "must be below train.steps"


def _rates(spec: RunSpec) -> Iterator[Found]:
    """A schedule replaces that of a config; its numbers alone would be taken for those of another schedule."""
    if spec.model.pipeline_config is not None and spec.train.schedule is None:
        for key in ("learning_rate", "warmup_steps", "warmup_learning_rate"):
            if getattr(spec.train, key) is not None:
                yield (
                    ("train", key),
                    "stands in model.pipeline_config; give one or the other, or train.schedule with it",
                )
    if spec.model.pipeline_config is not None and spec.train.schedule is not None and spec.train.learning_rate is None:
        yield ("train", "schedule"), "needs train.learning_rate: that of model.pipeline_config is of its own schedule"


def _schedule(train: Train) -> Iterator[Found]:
    schedule = train.schedule
    kind = schedule.kind if schedule is not None else "cosine"
    if train.warmup_learning_rate is not None and train.warmup_steps is None and kind != "cosine":
        yield ("train", "warmup_learning_rate"), "needs train.warmup_steps"
    if schedule is None:
        return
    for key, kinds in _OF_SCHEDULE.items():
        if getattr(schedule, key) is not None and kind not in kinds:
            yield ("train", "schedule", key), f"is for {' and '.join(kinds)}, not for {kind}"
    if kind == "steps":
        at = [each.step for each in schedule.steps or ()]
        if not at:
            yield ("train", "schedule"), "steps needs schedule.steps, the rates and the steps from which they hold"
        elif at != sorted(set(at)) or at[0] <= (train.warmup_steps or 0):
            yield ("train", "schedule", "steps"), "must rise from one to the next, beginning after warmup_steps"
        elif train.epochs is None and train.steps is not None and at[-1] >= train.steps:
            yield ("train", "schedule", "steps"), "must be below train.steps"
