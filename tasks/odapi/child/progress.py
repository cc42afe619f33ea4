"""How a training goes: the loss curve, progress events, and a stop when the loss is no number."""

from __future__ import annotations

import json
import math
import os
import re
import time
from typing import Any, Optional

from .errors import JobError
from .loss_watch import LossWatch

LOSS_FILE = "loss.json"
#: A long training's curve is thinned to about this many points, each the mean of its steps.
_POINTS = 1000


def saved_step(model_dir: str) -> int:
    """Step of the last checkpoint of a folder; 0 without one."""
    import tensorflow.compat.v1 as tf

    return step_of(tf.train.latest_checkpoint(model_dir))


def step_of(prefix: Optional[str]) -> int:
    """The step that a checkpoint's name ends in; 0 without one."""
    found = re.search(r"-(\d+)$", prefix or "")
    return int(found.group(1)) if found else 0


def not_finite(loss: Any, step: int) -> JobError:
    return JobError(
        f"training stopped: the loss became {loss} after step {step}",
        "the optimiser diverged: the learning rate is too high, or a box has no area",
        "lower train.learning_rate, or lengthen train.warmup_steps",
    )


class LossCurve:
    """``[[step, loss, learning rate or null], ...]``, kept in a file so that a resumed training continues it."""

    def __init__(self, path: str, total: int, start: int) -> None:
        self.path = path
        self.last_step = start
        self.points = [point for point in self._load() if point[0] <= start]
        self.every = max(1, total // _POINTS)
        self._losses: list[float] = []

    def _load(self) -> list[list[Any]]:
        try:
            with open(self.path, encoding="utf-8") as file:
                rows: list[list[Any]] = json.load(file)
                return rows
        except (OSError, ValueError):
            return []

    def add(self, step: int, loss: float, rate: Optional[float]) -> None:
        self.last_step = step
        self._losses.append(loss)
        if step % self.every == 0:
            self.points.append([step, sum(self._losses) / len(self._losses), rate])
            self._losses = []

    def save(self) -> None:
        with open(self.path + ".tmp", "w", encoding="utf-8") as file:
            json.dump(self.points, file)
        os.replace(self.path + ".tmp", self.path)


def hook(curve: LossCurve, watch: LossWatch, total: int, emit: Any) -> Any:
    """A session hook that feeds the curve, has it watched, and emits ``progress`` about once a second."""
    import tensorflow.compat.v1 as tf

    class ProgressHook(tf.train.SessionRunHook):  # type: ignore[misc]
        def begin(self) -> None:
            self._fetches = {"loss": _summarised("loss")}
            rate = _summarised("learning_rate")
            if rate is not None:
                self._fetches["rate"] = rate
            self._clock: Any = None

        def before_run(self, run_context: Any) -> Any:
            return tf.train.SessionRunArgs(self._fetches)

        def after_run(self, run_context: Any, run_values: Any) -> None:
            step, loss = curve.last_step + 1, float(run_values.results["loss"])
            if not math.isfinite(loss):
                raise not_finite(loss, curve.last_step)
            curve.add(step, loss, float(run_values.results["rate"]) if "rate" in run_values.results else None)
            watch.look(curve, step)
            now = time.time()
            if self._clock is None:  # the first step builds and warms up; it says nothing about speed
                self._clock = (now, step, now)
            started, first, said = self._clock
            if now - said >= 1.0 or step in (first, total):
                self._clock = (started, first, now)
                speed = (step - first) / (now - started) if step > first else 0.0
                emit(
                    "progress",
                    step=step,
                    total=total,
                    loss=loss,
                    steps_per_second=round(speed, 3),
                    eta=round((total - step) / speed, 1) if speed else None,
                )

    return ProgressHook()


def _summarised(tag: str) -> Any:
    """The scalar that goes into TensorBoard under this name; None when there is none."""
    import tensorflow.compat.v1 as tf

    for summary in tf.get_collection(tf.GraphKeys.SUMMARIES):
        # The operation's name, made unique: loss, loss_1, ...
        if summary.op.type == "ScalarSummary" and re.match(tag + r"(_\d+)?$", summary.op.name):
            return summary.op.inputs[1]
    return None
