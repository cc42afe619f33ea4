"""Which objects of a data set no anchor can match, and anchors that would.

An object whose best IoU over all anchors is below the matcher's threshold is forced onto the nearest one, which learns
it badly or not at all. Everything here is arithmetic on boxes: no image is read, nothing is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import SpecError
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.data.anchor_grid import AnchorGrid, on_network
from jetlane.tasks.data.anchor_search import (
    ENOUGH,
    LARGEST,
    MATCHED,
    Anchors,
    Fitted,
    changed,
    fitted,
    is_fittable,
    larger,
    share,
)

Array = np.ndarray[Any, Any]

#: Edges of the histograms: side in pixels of the network's input (root of the area), and width by height.
SIDES = (0.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, float("inf"))
RATIOS = (0.0, 0.125, 0.2, 0.333, 0.667, 1.5, 3.0, 5.0, 8.0, float("inf"))
#: Which anchors are counted.
OWN, FITTED = "the pipeline.config's own anchors", "the fitted anchors"
#: Better by less is no reason to leave anchors that everybody knows.
_WORTH = 0.005


@dataclass(frozen=True)
class Bin:
    """Objects of one range, and how many of them no anchor matches."""

    low: float
    high: float
    objects: int
    unmatched: int


@dataclass(frozen=True)
class AnchorFit:
    """How a network's anchors suit a data set, and which would suit it better.

    Attributes:
        objects: Boxes that were looked at.
        matched, mean_iou: As of ``Fitted``, with the network's own anchors.
        sides, ratios: Histograms: pixels of the network's input, width by height.
        anchor_sides, anchor_ratios: Of the network's own anchors, each once.
        fitted: The best that were found for this input; None where the generator has other settings than scales and
            ratios, or none of any worth better was found.
        larger: The smallest larger input, with its anchors, at which enough objects are matched; None where this input
            does, or none would.
        searched: Whether better anchors were looked for.
        with_fitted: The same with the fitted ones; None without any.
        taken: Whether the fitted ones are what the network is trained with (``model.anchors: fit``).
    """

    objects: int
    matched: float
    mean_iou: float
    sides: tuple[Bin, ...] = ()
    ratios: tuple[Bin, ...] = ()
    anchor_sides: tuple[float, ...] = ()
    anchor_ratios: tuple[float, ...] = ()
    fitted: Optional[Fitted] = None
    larger: Optional[Fitted] = None
    searched: bool = False
    with_fitted: Optional[AnchorFit] = None
    taken: bool = False

    def to_json(self) -> dict[str, Any]:
        """JSON values; an open end of a histogram is null."""
        found = asdict(self)
        for each in (found, found["with_fitted"] or {}):
            for one in (*each.get("sides", ()), *each.get("ratios", ())):
                one["high"] = None if one["high"] == float("inf") else one["high"]
        return found

    @property
    def trained(self) -> AnchorFit:
        """How the anchors suit the data set that the network is trained with."""
        return self.with_fitted if self.taken and self.with_fitted is not None else self

    @property
    def whose(self) -> str:
        """Which anchors those are."""
        return FITTED if self.trained is not self else OWN

    def lines(self) -> Iterator[str]:
        """The same for people, a sentence each."""
        if not self.objects:
            return
        whose = OWN if self.taken else "the anchors"
        yield (
            f"{whose} match {self.matched:.1%} of {self.objects} objects (IoU of {MATCHED} or more; "
            f"mean best IoU {self.mean_iou:.2f})"
        )
        if self.taken and self.fitted is not None:
            yield f"model.anchors: fit chose {_shown(self.fitted)}, which match {self.fitted.matched:.1%}"
        for name, histogram in (("pixels", self.trained.sides), ("width by height", self.trained.ratios)):
            worst = max(histogram, key=lambda one: one.unmatched)
            if worst.unmatched > self.objects * (1 - ENOUGH):
                high = "more" if worst.high == float("inf") else f"{worst.high:g}"
                lost = f"{worst.unmatched} of {worst.objects} objects"
                yield f"no anchor matches {lost} of {worst.low:g} to {high} {name}"
        if self.taken and self.fitted is None:
            yield "model.anchors: fit found none that match more: they stay"
        elif not self.taken and self.fitted is not None:
            yield f"model.anchors: fit: {_shown(self.fitted)} would match {self.fitted.matched:.1%}"
        if self.larger is not None:
            yield f"with a larger input: {_shown(self.larger)} would match {self.larger.matched:.1%}"
        if self.searched and self.larger is None and max(self.matched, self.fitted_share) < ENOUGH:
            yield f"no input of up to {LARGEST} pixels would match {ENOUGH:.0%}: cut the images into tiles"

    @property
    def fitted_share(self) -> float:
        """What the fitted anchors match; 0 where there are none."""
        return self.fitted.matched if self.fitted is not None else 0.0


def fit(boxes: Array, sizes: Array, text: str, search: bool = True) -> AnchorFit:
    """Hold a pipeline.config's anchors against the boxes of a data set.

    Args:
        boxes: float [N, 4] as xmin, ymin, xmax, ymax in 0..1 of their images.
        sizes: [N, 2], width and height in pixels of the image of each.
        text: The pipeline.config.
        search: Whether better anchors are looked for.

    Raises:
        DerivationError, SpecError: The config has no anchors of a known kind, or no fixed input.
    """
    read = config.parse(text)
    placed = on_network(boxes, sizes, read)
    if not len(placed):
        return AnchorFit(0, 1.0, 1.0)
    grid = AnchorGrid.of(read)
    best = grid.best_iou(placed)
    width, height = grid.size[1], grid.size[0]
    sides = np.sqrt((placed[:, 2] - placed[:, 0]) * width * (placed[:, 3] - placed[:, 1]) * height)
    ratios = (placed[:, 2] - placed[:, 0]) * width / ((placed[:, 3] - placed[:, 1]) * height)
    found = AnchorFit(
        objects=len(placed),
        matched=share(best),
        mean_iou=round(float(best.mean()), 4),
        sides=_histogram(sides, best, SIDES),
        ratios=_histogram(ratios, best, RATIOS),
        anchor_sides=grid.sides,
        anchor_ratios=grid.ratios,
    )
    if not search or not is_fittable(read):
        return found
    best_here = fitted(placed, read)
    better = best_here if best_here.matched > found.matched + _WORTH else None
    enough = max(found.matched, best_here.matched) >= ENOUGH
    with_fitted = None if better is None else fit(boxes, sizes, with_anchors(text, better.anchors), search=False)
    larger_one = None if enough else larger(boxes, sizes, read)
    return replace(found, fitted=better, larger=larger_one, searched=True, with_fitted=with_fitted)


@dataclass(frozen=True)
class ClassFit:
    """Objects of one class, and how many of them no anchor matches."""

    name: str
    objects: int
    unmatched: int


def fit_by_class(boxes: Array, sizes: Array, names: Sequence[str], text: str) -> list[ClassFit]:
    """Hold a pipeline.config's anchors against the boxes of each class.

    Args:
        boxes, sizes, text: As of ``fit``; boxes without area are left out.
        names: The class of each box.

    Returns:
        In the order of the names.

    Raises:
        DerivationError, SpecError: As ``fit``.
    """
    read = config.parse(text)
    grid = AnchorGrid.of(read)
    classes = np.asarray(names)
    found = []
    for name in sorted(set(names)):
        best = grid.best_iou(on_network(boxes[classes == name], sizes[classes == name], read))
        found.append(ClassFit(name, len(best), int((best < MATCHED).sum())))
    return found


def refuse_unfittable(read: config.PipelineConfig) -> None:
    """Let a config pass whose anchors can be fitted.

    Raises:
        SpecError: They are made of other settings than scales and ratios.
    """
    if not is_fittable(read):
        raise SpecError(
            "model.anchors: fit cannot be used with this pipeline.config",
            "its anchors are not those of an ssd_anchor_generator with min_scale, max_scale and three aspect_ratios, "
            "nor of a multiscale_anchor_generator with two",
            "take model.anchors out, or the explicit scales, strides or offsets out of the config",
        )


def with_anchors(text: str, chosen: Anchors) -> str:
    """A pipeline.config with these anchors.

    Raises:
        SpecError: Its anchors are made of other settings than scales and ratios.
    """
    from google.protobuf import text_format

    read = config.parse(text)
    refuse_unfittable(read)
    return str(text_format.MessageToString(changed(read, chosen).message))


def _histogram(values: Array, best: Array, edges: Sequence[float]) -> tuple[Bin, ...]:
    found = []
    for low, high in zip(edges, edges[1:]):
        inside = (values >= low) & (values < high)
        found.append(Bin(low, high, int(inside.sum()), int((inside & (best < MATCHED)).sum())))
    return tuple(found)


def _shown(found: Fitted) -> str:
    ratios = ", ".join(f"{ratio:g}" for ratio in found.anchors.aspect_ratios)
    scales = f"min_scale {found.anchors.min_scale:g}, max_scale {found.anchors.max_scale:g}"
    if found.anchors.anchor_scale:
        scales = f"anchor_scale {found.anchors.anchor_scale:g}"
    said = f" ({found.not_grid_anchor})" if found.not_grid_anchor else ""
    return f"{found.width}x{found.height}, {scales}, aspect_ratios {ratios}{said}"
