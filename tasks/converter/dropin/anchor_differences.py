"""GridAnchor_TRT's fields in a script, held against the model's own anchors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.arithmetic import shortest
from jetlane.tasks.converter.dropin.model_anchors import fields_of, furthest, why_not
from jetlane.tasks.converter.dropin.plugin_fields import Difference, field, number, numbers, shown
from jetlane.tasks.converter.graph.graph import Node
from jetlane.tasks.converter.graph.ssd import SsdGraph
from jetlane.tasks.converter.ssd.crosscheck import graph_anchors, graph_priors
from jetlane.tasks.converter.ssd.derive import ANCHOR_TOLERANCE
from jetlane.tasks.converter.ssd.params import GridAnchor
from jetlane.tasks.converter.ssd.plugins import grid_anchor_boxes

Array = np.ndarray[Any, Any]

RECT = "GridAnchorRect_TRT"
#: What the plugin takes where a field is not given; there is none for the lists.
_DEFAULTS = {"numLayers": 6.0, "minSize": 0.2, "maxSize": 0.95}
#: Relative; a field of float32 that is closer is the same.
_SAME = 1e-5
#: Digits after the point to which people round a ratio: 0.33 for 0.3333.
_ROUNDED = 2
REMEDY = "`jetlane convert` carries the model's anchors as a constant, which NMS_TRT takes as well"


def anchor_differences(node: Node, ssd: SsdGraph) -> list[Difference]:
    """What a GridAnchor_TRT or GridAnchorRect_TRT node says otherwise than the model."""
    found = [*_variance(node, ssd)]
    maps = _maps(node, ssd)
    found += maps
    own, grid = graph_anchors(ssd), _given(node)
    boxes = grid_anchor_boxes(grid) if grid is not None and all(item.taste for item in maps) else None
    off = furthest(boxes, own) if boxes is not None else float("inf")
    if off <= ANCHOR_TOLERANCE:
        return found
    right = fields_of(ssd)
    if right is None:
        found.append(_inexpressible(node, ssd, boxes, own))
        return found
    fields = [*_scalars(node, right), *_ratios(node, right)]
    if boxes is not None and not fields:
        fields = [_told(node, "aspectRatios", numbers(node, "aspectRatios"), list(right.aspect_ratios))]
    effect = _effect(boxes, own)
    rounded = all(item.taste for item in fields)
    found += [replace(item, text=item.text + effect, taste=rounded) for item in fields]
    return found


def constant_differences(node: Node, ssd: SsdGraph) -> list[Difference]:
    """What a constant in the place of the anchors' plugin says otherwise than the model."""
    right = graph_priors(ssd).reshape(2, -1)
    given = np.asarray(node.value, np.float32).reshape(2, -1)
    found = []
    for row, name in enumerate(("anchors", "variance")):
        off = furthest(given[row], right[row])
        if off > ANCHOR_TOLERANCE:
            counted = f"{given.shape[1] // 4} where the model has {right.shape[1] // 4}"
            told = counted if given.shape != right.shape else f"up to {off:.2g} off the model's"
            value = f"; the model's are {shown(right[1][:4].tolist())}" if row else ""
            found.append(Difference(node.name, name, told + value))
    return found


def _variance(node: Node, ssd: SsdGraph) -> Iterable[Difference]:
    y, x, h, w = ssd.box_coder_scales
    right = [1 / x, 1 / y, 1 / w, 1 / h]
    given = numbers(node, "variance")
    if len(given) != 4 or not np.allclose(given, right, rtol=_SAME, atol=0):
        yield _told(node, "variance", given, right, " (in the order x, y, w, h)")


def _maps(node: Node, ssd: SsdGraph) -> list[Difference]:
    """featureMapShapes and numLayers: with others than the model's, boxes cannot be compared."""
    right, given = ssd.feature_map_shapes, [int(size) for size in numbers(node, "featureMapShapes")]
    square = all(height == width for height, width in right)
    found = []
    if node.op != RECT and not square:
        pairs = [size for shape in right for size in shape]
        text = f"the model's feature maps are not square, GridAnchor_TRT's are: use {RECT} with {shown(pairs)}"
        return [Difference(node.name, "featureMapShapes", f"{text} (height, width of each level)")]
    wanted = [size for shape in right for size in shape] if node.op == RECT else [height for height, _ in right]
    if given != wanted:
        hint = " (height, width of each level)" if node.op == RECT else ""
        if node.op == RECT and given == [size for shape in right for size in reversed(shape)]:
            hint = " (height and width are swapped)"
        found.append(_told(node, "featureMapShapes", given, wanted, hint))
    layers = number(node, "numLayers")
    if layers is None and len(right) == _DEFAULTS["numLayers"]:
        layers = _DEFAULTS["numLayers"]
    if node.op == RECT and not square:
        text = "boards below TensorRT 8.5 make wrong anchors, or none, for feature maps that are not square"
        found.append(Difference(node.name, RECT, text, taste=True))
    if layers != len(right):
        found.append(_told(node, "numLayers", layers, len(right)))
    return found


def _given(node: Node) -> Optional[GridAnchor]:
    """The script's numbers as the plugin takes them; None where it would read past a list's end."""
    sizes = [int(size) for size in numbers(node, "featureMapShapes")]
    shapes = tuple(zip(sizes[::2], sizes[1::2])) if node.op == RECT else tuple((size, size) for size in sizes)
    ratios = numbers(node, "aspectRatios")
    low, high = (_or_default(node, name) for name in ("minSize", "maxSize"))
    usable = len(shapes) > 1 and len(ratios) >= 3 and all(ratio > 0 for ratio in ratios)
    if not usable or low is None or high is None or not all(size > 0 for shape in shapes for size in shape):
        return None
    if any(not 0 < scale < 100 for scale in (low, high)):
        return None
    return GridAnchor(len(shapes), low, high, tuple(ratios), shapes, (0.1, 0.1, 0.2, 0.2))


def _or_default(node: Node, name: str) -> Optional[float]:
    return number(node, name) if field(node, name) is not None else _DEFAULTS[name]


def _scalars(node: Node, right: GridAnchor) -> Iterable[Difference]:
    for name, value in (("minSize", right.min_size), ("maxSize", right.max_size)):
        given = _or_default(node, name)
        if given is None or abs(given - value) > _SAME * value:
            yield _told(node, name, number(node, name), value)


def _ratios(node: Node, right: GridAnchor) -> Iterable[Difference]:
    given, wanted = numbers(node, "aspectRatios"), list(right.aspect_ratios)
    if len(given) == len(wanted):
        apart = [(one, other) for one, other in zip(given, wanted) if abs(one - other) > _SAME * other]
        if apart:
            rounded = all(one == round(other, _ROUNDED) for one, other in apart)
            yield replace(_told(node, "aspectRatios", given, wanted), taste=rounded)
    else:
        yield _told(node, "aspectRatios", given, wanted)


def _inexpressible(node: Node, ssd: SsdGraph, boxes: Optional[Array], own: Array) -> Difference:
    text = f"{node.op} cannot make the model's: {why_not(ssd)}{_effect(boxes, own)}; {REMEDY}"
    return Difference(node.name, "anchors", text)


def _effect(boxes: Optional[Array], own: Array) -> str:
    """What the difference does to the boxes, where they can be compared."""
    if boxes is None or boxes.shape != own.shape:
        return ""
    least = float(_overlaps(boxes, own).min())
    return f" (anchors up to {furthest(boxes, own):.2g} of the image off, IoU with the model's {least:.2f} at least)"


def _overlaps(left: Array, right: Array) -> Array:
    """IoU of boxes, pair by pair."""
    left, right = left.astype(np.float64), right.astype(np.float64)
    sides = np.minimum(left[:, 2:], right[:, 2:]) - np.maximum(left[:, :2], right[:, :2])
    common = np.clip(sides, 0, None).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (left, right)]
    overlaps: Array = common / (areas[0] + areas[1] - common)
    return overlaps


def _told(node: Node, name: str, given: Any, right: Any, hint: str = "") -> Difference:
    absent = given is None or given == []
    said = "the script gives none" if absent else f"the script has {shown(given)}"
    value = [shortest(item) for item in right] if isinstance(right, list) else right
    return Difference(node.name, name, f"{said}, the model {shown(value)}{hint}")
