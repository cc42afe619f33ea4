"""Keys of the spec's train section that change what a pipeline.config says of the training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Optional

from jetlane.specs.errors import SpecError
from jetlane.specs.schema_train import Regularizer, Schedule, Train
from jetlane.tasks.odapi.augmentation import augment

#: The layers that OD API's SSDs put on a backbone: of extra feature maps, and of a feature pyramid.
_NOT_BACKBONE = r"_[12]_Conv2d_\d+_\dx\d|/fpn/|/BottomUp|/feature_maps_"
BACKBONE = f"^FeatureExtractor/(?!.*({_NOT_BACKBONE}))"
_DECAYS = 10
_FACTOR = 0.5


def configure(train: Train, message: Any, learning_rate: float) -> None:
    """Change a ``TrainEvalPipelineConfig``, whose batch size and number of steps are those of the training.

    Args:
        learning_rate: Highest of the schedule, where there is one in the spec.

    Raises:
        SpecError: Naming the key.
    """
    config = message.train_config
    if train.optimizer is not None:
        _choose_optimizer(train, config.optimizer)
    if train.schedule is not None or train.warmup_learning_rate is not None:
        _schedule(train, _rate_of(config.optimizer), config.num_steps, learning_rate)
    if train.ema is not None:
        config.optimizer.use_moving_average = message.eval_config.use_moving_averages = True
        config.optimizer.moving_average_decay = train.ema
    if train.regularizer is not None:
        _regularize(train.regularizer, message.model)
    if train.clip_gradients is not None:
        config.gradient_clipping_by_norm = train.clip_gradients
    if train.augmentation is not None:
        augment(config, train.augmentation)
    if train.freeze is not None:
        config.freeze_variables[:] = [BACKBONE] if train.freeze == "backbone" else train.freeze
        _freeze_statistics(message.model.ssd)


def steps_of(train: Train, images: Optional[int], batch_size: int) -> Optional[int]:
    """The number of steps that a spec asks for; None where it asks for none, or the images are not counted yet."""
    if train.epochs is None or images is None:
        return train.steps
    return max(1, math.ceil(train.epochs * images / batch_size))


def _choose_optimizer(train: Train, message: Any) -> None:
    """Another optimiser with the learning rate of the one before."""
    asked, before = train.optimizer, message.WhichOneof("optimizer")
    assert asked is not None
    chosen = getattr(message, f"{asked.kind}_optimizer")
    if before != f"{asked.kind}_optimizer":
        rate = type(chosen)().learning_rate
        if before is not None:
            rate.CopyFrom(getattr(message, before).learning_rate)
        chosen.SetInParent()
        chosen.learning_rate.CopyFrom(rate)
    for key, field in (("momentum", "momentum_optimizer_value"), ("decay", "decay"), ("epsilon", "epsilon")):
        if getattr(asked, key) is not None:
            setattr(chosen, field, getattr(asked, key))


def _rate_of(optimizer: Any) -> Any:
    if optimizer.WhichOneof("optimizer") is None:
        raise SpecError("train.schedule: the pipeline.config names no optimizer", "", "name one as train.optimizer")
    return getattr(optimizer, optimizer.WhichOneof("optimizer")).learning_rate


def _schedule(train: Train, rate: Any, steps: int, peak: float) -> None:
    asked = train.schedule or Schedule(kind="cosine")
    low = peak / 4 if train.warmup_learning_rate is None else train.warmup_learning_rate
    warmup = train.warmup_steps
    if warmup is None:
        warmup = steps // 12 if asked.kind == "cosine" else 0
    if warmup >= steps:
        raise SpecError(f"train.warmup_steps: {warmup} is not below the {steps} steps of the training", "", "lower it")
    rate.Clear()
    if asked.kind == "cosine":
        held = asked.hold_steps or 0
        if warmup + held >= steps:
            why = f"with {warmup} of warm-up that is all of the {steps} steps of the training"
            raise SpecError(f"train.schedule.hold_steps: {held} steps", why, "lower it")
        cosine = rate.cosine_decay_learning_rate
        cosine.learning_rate_base, cosine.total_steps = peak, steps
        cosine.warmup_learning_rate, cosine.warmup_steps, cosine.hold_base_rate_steps = low, warmup, held
    elif asked.kind == "exponential":
        decay = rate.exponential_decay_learning_rate
        decay.initial_learning_rate = peak
        decay.decay_steps = asked.decay_steps or max(1, steps // _DECAYS)
        decay.decay_factor = _FACTOR if asked.decay_factor is None else asked.decay_factor
        decay.staircase = asked.staircase is not False
        decay.min_learning_rate = asked.min_learning_rate or 0.0
        decay.burnin_learning_rate, decay.burnin_steps = (low, warmup) if warmup else (0.0, 0)
    else:
        _listed(rate, peak, warmup, low, [(each.step, each.learning_rate) for each in asked.steps or ()])


def _listed(rate: Any, peak: float, warmup: int, low: float, later: list[tuple[int, float]]) -> None:
    """One rate after the other; the API's warm-up is the way to the first of the listed ones."""
    if not later and not warmup:
        rate.constant_learning_rate.learning_rate = peak
        return
    listed = rate.manual_step_learning_rate
    listed.initial_learning_rate, listed.warmup = (low, True) if warmup else (peak, False)
    for step, value in [(warmup, peak), *later] if warmup else later:
        listed.schedule.add(step=step, learning_rate=value)


def _regularize(asked: Regularizer, model: Any) -> None:
    for hyperparams in _hyperparams(model.ssd):
        if hyperparams.HasField("regularizer"):
            hyperparams.regularizer.Clear()
            getattr(hyperparams.regularizer, f"{asked.kind}_regularizer").weight = asked.weight


def _hyperparams(ssd: Any) -> Iterator[Any]:
    yield ssd.feature_extractor.conv_hyperparams
    kind = ssd.box_predictor.WhichOneof("box_predictor_oneof")
    predictor = getattr(ssd.box_predictor, kind) if kind else None
    if predictor is not None and hasattr(predictor, "conv_hyperparams"):
        yield predictor.conv_hyperparams


def _freeze_statistics(ssd: Any) -> None:
    """Batch norm of the feature extractor uses the averages it has, and does not update them.

    ``freeze_batchnorm`` alone does not reach layers whose parameters are those of the config.
    """
    ssd.freeze_batchnorm = True
    if ssd.feature_extractor.conv_hyperparams.HasField("batch_norm"):
        ssd.feature_extractor.conv_hyperparams.batch_norm.train = False
