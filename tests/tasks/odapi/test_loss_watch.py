"""Which losses end a training, and which do not."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Callable

import pytest

from jetlane.tasks.odapi.child.errors import JobError
from jetlane.tasks.odapi.child.loss_watch import LossWatch
from jetlane.tasks.odapi.child.progress import LossCurve


def train(folder: Path, loss: Callable[[int], float], total: int = 4000, **options: object) -> None:
    curve, watch = LossCurve(str(folder / "loss.json"), total, 0), LossWatch(total, **options)  # type: ignore[arg-type]
    for step in range(1, total + 1):
        curve.add(step, loss(step), None)
        watch.look(curve, step)


def noisy(step: int) -> float:
    return random.Random(step).uniform(0.7, 1.4)


@pytest.mark.parametrize("total", [600, 4000, 50_000])
def test_what_falls_goes_on(tmp_path: Path, total: int) -> None:
    train(tmp_path, lambda step: 5 * noisy(step) * math.exp(-8 * step / total) + 0.4, total)
    train(tmp_path, lambda step: 5 * noisy(step) / (1 + 3 * step / total), total)  # little


def test_a_warm_up_and_single_jumps_go_on(tmp_path: Path) -> None:
    train(tmp_path, lambda step: (0.5 if step < 100 else 4 if step < 700 else 0.4) * noisy(step))
    train(tmp_path, lambda step: 1e6 if step % 50 == 0 else noisy(step) / (1 + step / 500))


@pytest.mark.parametrize("at", [15, 300, 3000])
def test_a_loss_that_blows_up(tmp_path: Path, at: int) -> None:
    with pytest.raises(JobError, match="the loss grows without bounds") as caught:
        train(tmp_path, lambda step: noisy(step) * (1 if step < at else 1000.0) / (1 + step / 500))
    assert "train.learning_rate" in caught.value.remedy


@pytest.mark.parametrize("total", [600, 4000, 50_000])
def test_a_loss_that_does_not_fall(tmp_path: Path, total: int) -> None:
    with pytest.raises(JobError, match="the loss does not fall") as caught:
        train(tmp_path, noisy, total)
    assert "jetlane data show" in caught.value.remedy
    train(tmp_path, noisy, total, must_fall=lambda: False)
    train(tmp_path, noisy, total, on=False)
