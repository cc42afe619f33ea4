"""``train.prune``: the spec of the training that follows the pruning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: Keys of the training before that say where it starts, for how long it goes, and what it is compared with.
_FIRST = ("prune", "sweep", "start_from", "fine_tune_checkpoint")
_LENGTH = ("epochs", "steps")
_RATES = ("schedule", "learning_rate", "warmup_steps", "warmup_learning_rate")


def retraining(spec: RunSpec) -> RunSpec:
    """The same training with the number of steps and the learning rate that ``train.prune`` has for it.

    A schedule was made for the steps and the rate of the training before; where one of them is another, the rate falls
    along a cosine, or as a user's own pipeline.config says.
    """
    asked = spec.train.prune
    assert asked is not None
    given = spec.model_dump(exclude_unset=True)
    train: dict[str, Any] = {key: value for key, value in given["train"].items() if key not in _FIRST}
    if asked.steps is not None:
        train = {key: value for key, value in train.items() if key not in _LENGTH}
        train["steps"] = asked.steps
    if asked.steps is not None or asked.learning_rate is not None:
        peak = asked.learning_rate or spec.train.learning_rate
        train = {key: value for key, value in train.items() if key not in _RATES}
        train.update({"learning_rate": peak} if peak is not None else {})
        if peak is not None or spec.model.pipeline_config is None:
            train["schedule"] = {"kind": "cosine"}
    return type(spec).model_validate({**given, "train": train})
