"""Anchors of a graph whose constants were folded: what is left of them are four constants in the box decoder.

The decoder works out ``centre = code / scale * side + anchor_centre`` and ``side = exp(code / scale) * anchor_side``,
then ``centre - side / 2`` and ``centre + side / 2``. Grappler folds the anchors into ``anchor_centre`` and
``anchor_side``. For the centres it even folds ``side / scale`` into one constant, from which the scale follows; and for
the sides ``anchor_side / 2``, which is told by the half that is missing below.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of, port_of

Array = np.ndarray[Any, Any]
Scales = tuple[float, float, float, float]

_REMEDY = "convert the graph that export_inference_graph wrote, before other tools rewrote it"
#: Steps from a code to the multiplication: a scale, an exponential.
_NEAR = 4
#: Relative spread of ``side / (side / scale)`` over all anchors that float32 explains.
_SPREAD = 1e-5


@dataclass(frozen=True)
class FoldedAnchors:
    """What the decoder's constants say.

    Attributes:
        anchors: float32 [anchors, 4]: ymin, xmin, ymax, xmax.
        scales: Box coder scales y, x, h, w.
    """

    anchors: Array
    scales: Scales


@dataclass(frozen=True)
class _Product:
    """The multiplication of a code by a number per anchor, and what the code was divided by before."""

    node: Node
    factors: Array
    scale: float


def find_folded_anchors(graph: Graph, evaluator: Evaluator, codes: Node) -> Optional[FoldedAnchors]:
    """The anchors as the decoder's constants tell them; None where these are no such constants.

    Args:
        codes: The Unpack of the encodings: y, x, h, w.

    Raises:
        GraphError: The constants do not fit each other.
    """
    y, x, h, w = (_product(graph, evaluator, codes, port) for port in range(4))
    if y is None or x is None or h is None or w is None:
        return None
    centres = [_summand(graph, evaluator, product) for product in (y, x)]
    numbers = [np.ravel(one) for one in (h.factors, w.factors, y.factors, x.factors, *centres) if one is not None]
    if len(numbers) != 6:
        return None
    if len({one.size for one in numbers}) != 1:
        raise GraphError(
            "the anchors cannot be worked out from the graph",
            f"its box decoder has constants of {sorted({one.size for one in numbers})} numbers for the same anchors",
            _REMEDY,
        )
    tall, wide, along_y, along_x, middle_y, middle_x = (one.astype(np.float64) for one in numbers)
    heights, widths = 2 * _remaining(graph, evaluator, h) * tall, 2 * _remaining(graph, evaluator, w) * wide
    corners = [middle_y - heights / 2, middle_x - widths / 2, middle_y + heights / 2, middle_x + widths / 2]
    scales = (y.scale * _scale(heights, along_y), x.scale * _scale(widths, along_x), h.scale, w.scale)
    return FoldedAnchors(np.stack(corners, 1).astype(np.float32), scales)


def _product(graph: Graph, evaluator: Evaluator, codes: Node, port: int) -> Optional[_Product]:
    """Follow a code to where it meets the anchors: y and x as they are, h and w after an exponential."""
    readers = [reader for reader in graph.consumers(codes.name) if port in _ports(reader, codes.name)]
    todo = [(reader, port < 2, 1.0) for reader in readers]
    for _ in range(_NEAR):
        further: list[tuple[Node, bool, float]] = []
        for node, ready, scale in todo:
            constants = [value for value in map(evaluator.value, node.inputs) if value is not None]
            number = np.float32(np.ravel(constants[0])[0]) if constants and constants[0].size else np.float32(0)
            if node.op == "Mul" and ready and len(constants) == 1 and constants[0].size > 1:
                return _Product(node, constants[0], scale)
            if node.op == "Exp":
                further += [(reader, True, scale) for reader in graph.consumers(node.name)]
            elif node.op in ("Mul", "RealDiv", "Div") and len(constants) == 1 and constants[0].size == 1 and number:
                divisor = float(np.float32(1) / number if node.op == "Mul" else number)
                further += [(reader, ready, scale * divisor) for reader in graph.consumers(node.name)]
        todo = further
    return None


def _remaining(graph: Graph, evaluator: Evaluator, product: _Product) -> float:
    """What a side is still multiplied by before it is added to the centre: a half, or 1 where that was folded.

    Raises:
        GraphError: Neither.
    """
    node, factor = product.node, 1.0
    for _ in range(_NEAR):
        readers = graph.consumers(node.name)
        if any(reader.op in ("Add", "AddV2", "Sub") for reader in readers):
            break
        step = next((one for one in readers if one.op in ("Mul", "RealDiv", "Div")), None)
        constants = [value for value in map(evaluator.value, step.inputs) if value is not None] if step else []
        if step is None or len(constants) != 1 or constants[0].size != 1:
            break
        number = float(np.ravel(constants[0])[0])
        factor = factor * number if step.op == "Mul" else factor / number if number else 0.0
        node = step
    if factor not in (0.5, 1.0):
        raise GraphError(
            "the anchors cannot be worked out from the graph",
            f"its box decoder takes {factor:g} of a box's side to each side of its centre, not a half",
            _REMEDY,
        )
    return factor


def _ports(reader: Node, name: str) -> list[int]:
    return [port_of(ref) for ref in reader.inputs if node_of(ref) == name]


def _summand(graph: Graph, evaluator: Evaluator, product: _Product) -> Optional[Array]:
    """The number per anchor that is added to a product."""
    for reader in graph.consumers(product.node.name):
        constants = [value for value in map(evaluator.value, reader.inputs) if value is not None]
        if reader.op in ("Add", "AddV2") and len(constants) == 1 and constants[0].size > 1:
            return constants[0]
    return None


def _scale(sides: Array, products: Array) -> float:
    """The scale that the anchors' sides were divided by, 1 where they were not."""
    with np.errstate(all="ignore"):
        ratios = sides / products
    middle = float(np.median(ratios))
    if not np.isfinite(middle) or middle <= 0 or float(np.abs(ratios - middle).max()) > _SPREAD * middle:
        raise GraphError(
            "the box coder's scales cannot be worked out from the graph",
            "its box decoder multiplies codes by numbers that are no multiple of the anchors' sides",
            _REMEDY,
        )
    return float(f"{middle:.7g}")
