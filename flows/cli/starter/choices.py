"""How large a network, and how long a training, suit a data set and the boards that it is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jetlane.flows.cli.starter.boards import KINDS, Board
from jetlane.specs.load import spec_from_data
from jetlane.tasks.data.anchor_fit import fit
from jetlane.tasks.data.anchor_search import ENOUGH
from jetlane.tasks.odapi.training_config import pipeline_config
from jetlane.tasks.proof.chance import map_deviation

if TYPE_CHECKING:
    from jetlane.tasks.data.survey import Survey

#: Pixels of the input that the smaller objects should have: one cell of the finest feature map.
SMALL_OBJECT = 16
_SIDES = (160, 224, 300, 384, 512, 640)
#: Images are squeezed into a square unless one side is this many times the other.
_LONG = 2.0
#: The schema's bounds of an input's side.
_LEAST, _MOST = 96, 1024
_BATCH = 16
_LEARNING_RATE = 0.004
#: Images that a board verifies with: the least that a spec may say, and the most where there are more.
_LEAST_SAMPLES, _MOST_SAMPLES = 30, 60
_LEAST_MARGIN = 0.01


@dataclass(frozen=True)
class Choices:
    """What the spec says beside the data and the boards.

    Attributes:
        width, height: Of the input, pixels.
        small: Nine objects in ten are larger: the root of the share of its image that an object covers.
        trial: Only a virtual Jetson is meant: a small network and few steps show the whole road.
        train, validation: Images of each side, about.
        divided: Whether jetlane divides them.
        passes: How often the training sees each image.
        samples: Images that the boards verify with.
        margin: How far below the live release the gate lets a model be: as much as mAP@0.5 varies on so few images.
        matched: Share of the objects that the template's anchors match.
        fit_anchors: Too few: the run is to look for better ones.
        delivers: All boards were given with their address.
    """

    width: int
    height: int
    small: float
    depth_multiplier: float
    trial: bool
    train: int
    validation: int
    divided: bool
    batch_size: int
    steps: int
    passes: int
    learning_rate: float
    samples: int
    margin: float
    matched: float
    fit_anchors: bool
    precision: str
    delivers: bool


def choose(found: Survey, boards: Sequence[Board]) -> Choices:
    """The choices for a data set and boards; no board is one virtual Jetson."""
    kinds = {board.kind for board in boards} or {"virtual"}
    trial = kinds == {"virtual"}
    small = _small(found)
    width, height = _shape(found, _side(small, trial, min(KINDS[kind].largest for kind in kinds)))
    train, validation = _sides(found)
    batch_size = _batch_size(train, width * height)
    fewest, most, wanted = (600, 2000, 60) if trial else (4000, 40_000, 100)
    steps = round(min(max(wanted * train / batch_size, fewest), most), -2)
    delivers = bool(boards) and all(board.host for board in boards)
    coarse = delivers and all(KINDS[kind].precision == "fp16" for kind in kinds)
    matched = _matched(found, width, height)
    return Choices(
        width=width,
        height=height,
        small=small,
        depth_multiplier=0.35 if trial else 1.0,
        trial=trial,
        train=train,
        validation=validation,
        divided=sum(found.splits.values()) < found.images or len(found.splits) < 2,
        batch_size=batch_size,
        steps=int(steps),
        passes=round(int(steps) * batch_size / max(train, 1)),
        learning_rate=round(_LEARNING_RATE * batch_size / _BATCH, 5),
        samples=min(max(validation, _LEAST_SAMPLES), _MOST_SAMPLES),
        margin=max(round(map_deviation(validation), 2), _LEAST_MARGIN),
        matched=matched,
        fit_anchors=matched < ENOUGH,
        precision="fp16" if coarse else "fp32",
        delivers=delivers,
    )


def _small(found: Survey) -> float:
    """A tenth of the objects is smaller; of an image's side."""
    if not len(found.boxes):
        return 0.2
    sides = np.sqrt(np.prod(found.boxes[:, 2:] - found.boxes[:, :2], axis=1))
    return float(np.quantile(sides, 0.1))


def _side(small: float, trial: bool, largest: int) -> int:
    """The smallest usual input at which the smaller objects are seen; the largest that the boards carry otherwise."""
    usual = [side for side in _SIDES if side <= largest and (trial or side >= 300)]
    return next((side for side in usual if small * side >= SMALL_OBJECT), usual[-1])


def _shape(found: Survey, side: int) -> tuple[int, int]:
    """(width, height) of the input: a square, or for long images one of about its area."""
    if not len(found.sizes):
        return side, side
    ratio = float(np.median(found.sizes[:, 0] / found.sizes[:, 1]))
    if 1 / _LONG < ratio < _LONG:
        return side, side
    edges = (side * ratio**0.5, side * ratio**-0.5)
    width, height = (min(max(32 * round(edge / 32), _LEAST), _MOST) for edge in edges)
    return width, height


def _sides(found: Survey) -> tuple[int, int]:
    """Images to train and to evaluate on, as the run will have them, about."""
    given = found.splits
    sides = [given[split] for split in ("train", "validation", "test")]
    if not given["train"] or not (given["validation"] or given["test"]):
        return found.images - found.images // 5, found.images // 5
    open_ = found.images - sum(sides)
    return sides[0] + open_ - open_ // 5, (sides[1] or sides[2]) + open_ // 5


def _batch_size(train: int, area: int) -> int:
    """As usual, less where an image is large, or where there are few."""
    most = _BATCH if area <= 400 * 400 else _BATCH // 2
    while most > 2 and most * 3 > train:
        most //= 2
    return most


def _matched(found: Survey, width: int, height: int) -> float:
    """Share of the objects that the template's anchors match."""
    data = {"name": "any", "dataset": {"shapes": {}}, "model": {"width": width, "height": height}}
    config = pipeline_config(spec_from_data(data, Path.cwd()), len(found.objects))
    return fit(found.boxes, found.sizes, config, search=False).matched
