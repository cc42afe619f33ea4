"""Anchors that suit a data set better: scales and aspect ratios, and where these do not do, a larger input.

Of an ``ssd_anchor_generator``, only what ``GridAnchor_TRT`` can make is looked at: scales that rise evenly from
``min_scale`` to ``max_scale``, and the lowest layer's own boxes. Of a pyramid's ``multiscale_anchor_generator`` it is
``anchor_scale``. Aspect ratios are as many as before, so that the network stays as large as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.derive import CONSTANT_NOTE, derive
from jetlane.tasks.data.anchor_grid import AnchorGrid, on_network

Array = np.ndarray[Any, Any]

#: The matcher's threshold in all templates.
MATCHED = 0.5
#: Share of the objects that anchors should match; with less, a larger input is looked for.
ENOUGH = 0.95
#: Objects that the search looks at; chosen evenly over all.
_SAMPLE = 1000
_MIN_SCALES = (0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.25, 0.3, 0.4)
#: Not below 0.6: random crops show objects larger than they are in the data.
_MAX_SCALES = (0.6, 0.75, 0.85, 0.95)
_EXTRA_RATIOS = (3.0, 1 / 3, 4.0, 1 / 4, 5.0, 1 / 5, 6.0, 1 / 6, 8.0, 1 / 8, 10.0, 1 / 10, 1.5, 1 / 1.5)
#: Times the stride of a pyramid's level.
_PYRAMID_SCALES = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
#: Ratios that stay: the lowest layer's, which are built into the Object Detection API and into GridAnchor_TRT; of a
#: pyramid the first, the square.
_FIXED, _FIXED_OF_PYRAMID = 3, 1
_ENLARGED = (1.25, 1.5, 2.0, 3.0)
LARGEST = 1024
#: Least gain for which a setting is changed.
_STEP = 1e-3


@dataclass(frozen=True)
class Anchors:
    """What the anchor generator is given.

    Attributes:
        min_scale, max_scale: Of an ``ssd_anchor_generator``; 0 for a pyramid.
        anchor_scale: Of a ``multiscale_anchor_generator``; 0 for others.
    """

    aspect_ratios: tuple[float, ...]
    min_scale: float = 0.0
    max_scale: float = 0.0
    anchor_scale: float = 0.0

    @classmethod
    def of(cls, read: PipelineConfig) -> Anchors:
        """Those of a config that can be fitted."""
        generator = _generator(read)
        ratios = tuple(round(float(ratio), 4) for ratio in generator.aspect_ratios)
        if _is_pyramid(read):
            return cls(ratios, anchor_scale=round(float(generator.anchor_scale), 4))
        return cls(ratios, round(float(generator.min_scale), 4), round(float(generator.max_scale), 4))

    @property
    def fixed(self) -> int:
        """How many of the ratios stay as they are."""
        return _FIXED_OF_PYRAMID if self.anchor_scale else _FIXED


@dataclass(frozen=True)
class Fitted:
    """Anchors for a data set.

    Attributes:
        matched: Share of the objects whose best IoU is 0.5 or more.
        mean_iou: Mean best IoU.
        width, height: Of the network's input.
        not_grid_anchor: Why GridAnchor_TRT does not make these anchors, which then travel as a constant; else empty.
    """

    anchors: Anchors
    matched: float
    mean_iou: float
    width: int
    height: int
    not_grid_anchor: str = ""


def is_fittable(read: PipelineConfig) -> bool:
    """Whether its anchors are made of scales and ratios alone."""
    if _is_pyramid(read):
        return len(_generator(read).aspect_ratios) > _FIXED_OF_PYRAMID
    kind = read.ssd.anchor_generator.WhichOneof("anchor_generator_oneof")
    generator = read.ssd.anchor_generator.ssd_anchor_generator
    others = (generator.scales, generator.height_stride, generator.width_stride, generator.height_offset)
    enough = generator.num_layers > 1 and len(generator.aspect_ratios) >= _FIXED
    return kind == "ssd_anchor_generator" and enough and not any(others)


def _is_pyramid(read: PipelineConfig) -> bool:
    return bool(read.ssd.anchor_generator.HasField("multiscale_anchor_generator"))


def _generator(read: PipelineConfig) -> Any:
    given = read.ssd.anchor_generator
    return given.multiscale_anchor_generator if _is_pyramid(read) else given.ssd_anchor_generator


def fitted(placed: Array, read: PipelineConfig) -> Fitted:
    """The best anchors that are found for boxes [N, 4] in fractions of the network's frame.

    Scales and further ratios in turn, each time the best of a grid, until nothing is better.
    """
    sample = placed[np.linspace(0, len(placed) - 1, min(len(placed), _SAMPLE)).astype(int)]
    best = Anchors.of(read)
    grid = AnchorGrid.of(read)
    distances = grid.distances(sample)

    def worth_of(chosen: Anchors) -> float:
        """What the search raises: objects that are matched, and a little how well."""
        found = grid.with_boxes_of(changed(read, chosen)).best_iou(sample, distances)
        return float((found >= MATCHED).mean() + 0.2 * found.mean())

    worth = worth_of(best)
    for _ in range(3):
        before = worth
        for candidates in (
            _scales(best),
            *(_ratios(best, place) for place in range(best.fixed, len(best.aspect_ratios))),
        ):
            for candidate in candidates:
                now = worth_of(candidate)
                if now > worth + _STEP:
                    best, worth = candidate, now
        if worth < before + 1e-3:
            break
    return _measured(placed, read, best)


def _scales(around: Anchors) -> Iterator[Anchors]:
    if around.anchor_scale:
        yield from (replace(around, anchor_scale=scale) for scale in _PYRAMID_SCALES)
        return
    for low in (around.min_scale, *_MIN_SCALES):
        for high in (around.max_scale, *_MAX_SCALES):
            if low < high:
                yield replace(around, min_scale=low, max_scale=high)


def _ratios(around: Anchors, place: int) -> Iterator[Anchors]:
    for ratio in _EXTRA_RATIOS:
        chosen = list(around.aspect_ratios)
        chosen[place] = round(ratio, 4)
        if len(set(chosen)) == len(chosen):
            yield replace(around, aspect_ratios=tuple(chosen))


def _measured(placed: Array, read: PipelineConfig, chosen: Anchors) -> Fitted:
    other = changed(read, chosen)
    grid = AnchorGrid.of(other)
    best = grid.best_iou(placed)
    notes = [note for note in derive(other).notes if note.startswith(CONSTANT_NOTE)]
    mean = round(float(best.mean()), 4)
    return Fitted(chosen, share(best), mean, grid.size[1], grid.size[0], notes[0] if notes else "")


def larger(boxes: Array, sizes: Array, read: PipelineConfig) -> Optional[Fitted]:
    """The smallest larger input at which enough objects are matched."""
    if read.ssd.image_resizer.WhichOneof("image_resizer_oneof") != "fixed_shape_resizer":
        return None
    for factor in _ENLARGED:
        enlarged = _copied(read)
        resizer = enlarged.ssd.image_resizer.fixed_shape_resizer
        resizer.width, resizer.height = (round(side * factor / 32) * 32 for side in (resizer.width, resizer.height))
        if max(resizer.width, resizer.height) > LARGEST:
            return None
        found = fitted(on_network(boxes, sizes, enlarged), enlarged)
        if found.matched >= ENOUGH:
            return found
    return None


def changed(read: PipelineConfig, chosen: Anchors) -> PipelineConfig:
    """The config with other anchors; its text stays as it was."""
    made = _copied(read)
    generator = _generator(made)
    if chosen.anchor_scale:
        generator.anchor_scale = chosen.anchor_scale
    else:
        generator.min_scale, generator.max_scale = chosen.min_scale, chosen.max_scale
    generator.aspect_ratios[:] = chosen.aspect_ratios
    return made


def _copied(read: PipelineConfig) -> PipelineConfig:
    """The config with a message of its own, to be changed."""
    message = type(read.message)()
    message.CopyFrom(read.message)
    return replace(read, message=message)


def share(best: Array) -> float:
    """Of the objects with these best IoUs, those that are matched."""
    return round(float((best >= MATCHED).mean()), 4)
