"""The anchors of a graph in GridAnchor_TRT's terms: its fields, or why it cannot make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.graph.ssd import SsdGraph
from jetlane.tasks.converter.ssd.anchors import by_level
from jetlane.tasks.converter.ssd.crosscheck import graph_anchors
from jetlane.tasks.converter.ssd.derive import ANCHOR_TOLERANCE
from jetlane.tasks.converter.ssd.params import GridAnchor
from jetlane.tasks.converter.ssd.plugins import LOWEST_SCALE, grid_anchor_boxes

Array = np.ndarray[Any, Any]

#: Fewest and most digits after the point that a person gives a scale or ratio with.
_DIGITS = range(2, 9)
#: Boxes of a level that lie further off a regular grid are not rounding.
_OFF_GRID = 1e-5


@dataclass(frozen=True)
class _Level:
    """Boxes of one level: scales and width/height ratios [A] of a cell, and whether the cells' centres are regular."""

    scales: Array
    ratios: Array
    regular: bool


def fields_of(ssd: SsdGraph) -> Optional[GridAnchor]:
    """The fields with which GridAnchor_TRT makes the graph's anchors, within 1e-6; None where there are none."""
    return _fields(ssd, graph_anchors(ssd))


def why_not(ssd: SsdGraph) -> str:
    """What about the graph's anchors GridAnchor_TRT cannot express."""
    levels = _levels(ssd, graph_anchors(ssd))
    counts = [len(level.scales) for level in levels]
    if len(levels) < 2:
        return "it has one level, where GridAnchor_TRT divides by zero"
    if any(not level.regular for level in levels):
        return "its centres are not in the middle of the cells (strides or offsets of its own, or an FPN's anchors)"
    if counts[0] != 3:
        return f"its lowest level has {counts[0]} boxes a cell, the plugin's 3 (reduce_boxes_in_lowest_layer)"
    if len(set(counts[1:])) > 1:
        return f"its levels have {counts} boxes a cell, the plugin has as many in each but the lowest"
    base = _base_size(levels)
    if base is not None and _fields(ssd, _resized(graph_anchors(ssd), 1 / base[0], 1 / base[1])) is not None:
        times = f"{base[0]:.6g} times as high and {base[1]:.6g} times as wide as the plugin's"
        return f"its boxes are {times} (base_anchor_height, base_anchor_width, or an input that is not square)"
    if _fields(ssd, _extra_box_last(ssd)) is not None:
        return "the extra box of a cell is the second, as exports of 2017 have it; the plugin's is the last"
    if counts[1] < 4:
        return f"its cells have {counts[1]} boxes; the plugin reads three aspect ratios and adds a box of its own"
    if base is None and abs(levels[0].scales[0] - LOWEST_SCALE) > _OFF_GRID:
        return f"its smallest box has the scale {levels[0].scales[0]:.4g}, the plugin's 0.1"
    scales = [float(level.scales[0]) for level in levels[1:]]
    if np.abs(np.diff(scales, 2)).max(initial=0) > _OFF_GRID:
        told = ", ".join(f"{scale:.4g}" for scale in scales)
        return f"its scales above the lowest level are {told}, the plugin's are evenly spaced"
    if not np.allclose(levels[0].ratios, levels[1].ratios[:3], rtol=1e-4):
        lowest, others = (", ".join(f"{ratio:.4g}" for ratio in level.ratios[:3]) for level in levels[:2])
        return f"its lowest level has the ratios {lowest}, the others begin with {others}; the plugin has one list"
    return "its scales and ratios follow another formula"


def furthest(boxes: Array, own: Array) -> float:
    """How far a coordinate is off, in sides of the image; infinity where the boxes differ in number."""
    return float(np.abs(boxes - own).max()) if boxes.shape == own.shape else float("inf")


def _fields(ssd: SsdGraph, own: Array) -> Optional[GridAnchor]:
    levels = _levels(ssd, own)
    counts = {len(level.scales) for level in levels[1:]}
    if len(levels) < 2 or len(levels[0].scales) != 3 or len(counts) != 1 or min(counts) < 4:
        return None
    ratios = np.median([level.ratios[:-1] for level in levels[1:]], axis=0)
    low, high = float(levels[0].scales[1]), float(levels[-1].scales[0])
    y, x, h, w = ssd.box_coder_scales
    variance = (1 / x, 1 / y, 1 / w, 1 / h)
    for digits in _DIGITS:
        grid = GridAnchor(
            len(levels),
            round(low, digits),
            round(high, digits),
            tuple(round(float(ratio), digits) for ratio in ratios),
            ssd.feature_map_shapes,
            variance,
        )
        if min(grid.aspect_ratios) > 0 and furthest(grid_anchor_boxes(grid), own) <= ANCHOR_TOLERANCE:
            return grid
    return None


def _levels(ssd: SsdGraph, own: Array) -> list[_Level]:
    found = []
    for boxes in _by_level(ssd, own.astype(np.float64)):
        rows, columns = boxes.shape[:2]
        width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
        x, y = (boxes[..., 0] + boxes[..., 2]) / 2, (boxes[..., 1] + boxes[..., 3]) / 2
        middle_x, middle_y = (np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows
        off = max(
            np.abs(x - middle_x[None, :, None]).max(initial=0), np.abs(y - middle_y[:, None, None]).max(initial=0)
        )
        width, height = width.mean(axis=(0, 1)), height.mean(axis=(0, 1))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(_Level(np.sqrt(width * height), width / height, bool(off <= _OFF_GRID)))
    return found


def _base_size(levels: list[_Level]) -> Optional[tuple[float, float]]:
    """Height and width of the base anchor, if the smallest box has the scale 0.1 and the ratio 1 but for them."""
    scale, ratio = float(levels[0].scales[0]), float(levels[0].ratios[0])
    if not scale > 0 or not ratio > 0:
        return None
    height, width = scale / np.sqrt(ratio) / 0.1, scale * np.sqrt(ratio) / 0.1
    plain = abs(height - 1) < 1e-4 and abs(width - 1) < 1e-4
    return None if plain else (float(height), float(width))


def _resized(own: Array, height: float, width: float) -> Array:
    boxes = own.astype(np.float64)
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * (width, height)
    return np.concatenate([center - half, center + half], axis=1).astype(np.float32)


def _extra_box_last(ssd: SsdGraph) -> Array:
    """The anchors with the second box of each cell above the lowest level put last."""
    parts = []
    for level, cells in enumerate(_by_level(ssd, graph_anchors(ssd))):
        boxes = cells.shape[2]
        order = [0, *range(2, boxes), 1] if level and boxes > 1 else slice(None)
        parts.append(cells[:, :, order].reshape(-1, 4))
    return np.concatenate(parts)


def _by_level(ssd: SsdGraph, own: Array) -> list[Array]:
    return by_level(own, ssd.feature_map_shapes, [head.anchors_per_cell for head in ssd.heads])
