"""Ends a training that leads nowhere: a loss that grows without bounds, or one that does not fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

from .errors import JobError

if TYPE_CHECKING:
    from .progress import LossCurve

#: Steps whose losses are taken together, and those at the beginning of a training that they are compared with.
_WINDOW, _FIRST = 200, 20
#: A loss that is so many times what it was is no noise, nor a warm-up's.
_BLOWN_UP = 20.0
#: A loss that is no less than this share of what it was has not fallen.
_FALLEN = 0.98
#: Steps, and share of a training, after which a loss must have fallen.
_PATIENCE, _SHARE = 500, 0.25


class LossWatch:
    """Compares the median loss of the last steps with that of the first ones.

    Args:
        total: Steps of the training.
        must_fall: Whether it must; a training that goes on from a whole model may have a loss as low as it gets.
        on: False: it never ends a training.
    """

    def __init__(self, total: int, must_fall: Callable[[], bool] = lambda: True, on: bool = True) -> None:
        self._must_fall = must_fall
        self._on = on
        self._due = max(_PATIENCE, int(total * _SHARE))

    def look(self, curve: LossCurve, step: int) -> None:
        """Raise JobError where the training is to end."""
        window = max(_WINDOW, 10 * curve.every)
        if not self._on or step % window or step < 2 * window:
            return
        first = _median([loss for at, loss, _ in curve.points if at <= max(_FIRST, 3 * curve.every)])
        last = _median([loss for at, loss, _ in curve.points if at > step - window])
        said = f"it was {first:.3g} in the first steps, and is {last:.3g} in the last {window}"
        if last > _BLOWN_UP * first:
            raise JobError(
                f"training stopped at step {step}: the loss grows without bounds",
                f"{said}; the optimiser diverges",
                "lower train.learning_rate, or lengthen train.warmup_steps; train.watch_loss: false lets it go on",
            )
        if self._must_fall() and step >= self._due and last > _FALLEN * first:
            raise JobError(
                f"training stopped at step {step}: the loss does not fall",
                f"{said}; the network learns nothing",
                "look at the boxes with `jetlane data show`, change train.learning_rate (ten times more or less), or "
                "start from a checkpoint; train.watch_loss: false lets it go on",
            )


def _median(losses: list[float]) -> float:
    return sorted(losses)[len(losses) // 2] if losses else 0.0
