"""Anchors of a graph whose constants were folded: what is left of them are four constants in the box decoder.

The decoder works out ``centre = code / scale * side + anchor_centre`` and ``side = exp(code / scale) * anchor_side``.
Grappler folds the anchors into ``anchor_centre`` and ``anchor_side``, and for the centres even ``side / scale`` into
one constant; from that and the side follows the scale.
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

#: Relative spread of ``side / (side / scale)`` over all anchors that float32 explains.
_SPREAD = 1e-5


@dataclass(frozen=True)
class FoldedAnchors:
    """Attributes:
    anchors: float32 [anchors, 4]: ymin, xmin, ymax, xmax.
    scales: Box coder scales y, x, h, w.
    """

    anchors: Array
    scales: Scales


def find_folded_anchors(graph: Graph, evaluator: Evaluator, codes: Node, scales: Scales) -> Optional[FoldedAnchors]:
    """The anchors as the decoder's constants tell them; None where these are no such constants.

    Args:
        codes: The Unpack of the encodings: y, x, h, w.
        scales: Of the box coder, where they stand alone; 1 where they do not.

    Raises:
        GraphError: The constants do not fit each other.
    """
    sides = [_factor(graph, evaluator, codes, port, through_exp=True) for port in (2, 3)]
    products = [_factor(graph, evaluator, codes, port, through_exp=False) for port in (0, 1)]
    centres = [_summand(graph, evaluator, product) for product in products]
    constants = [side[1] if side else None for side in sides] + [
        product[1] if product else None for product in products
    ]
    numbers = [np.ravel(one) for one in (*constants, *centres) if one is not None]
    if len(numbers) != 6:
        return None
    if len({one.size for one in numbers}) != 1:
        raise GraphError(
            "the anchors cannot be worked out from the graph",
            f"its box decoder has constants of {sorted({one.size for one in numbers})} numbers for the same anchors",
            "convert the graph that export_inference_graph wrote, before other tools rewrote it",
        )
    heights, widths, along_y, along_x, y, x = (one.astype(np.float64) for one in numbers)
    anchors = np.stack([y - heights / 2, x - widths / 2, y + heights / 2, x + widths / 2], 1).astype(np.float32)
    merged = [_scale(side, product) for side, product in ((heights, along_y), (widths, along_x))]
    return FoldedAnchors(anchors, (scales[0] * merged[0], scales[1] * merged[1], scales[2], scales[3]))


def _factor(
    graph: Graph, evaluator: Evaluator, codes: Node, port: int, *, through_exp: bool
) -> Optional[tuple[Node, Array]]:
    """The multiplication of one code by a number per anchor, and these numbers."""
    todo = [reader for reader in graph.consumers(codes.name) if port in _ports(reader, codes.name)]
    seen_exp = not through_exp
    for _ in range(4):
        if len(todo) != 1:
            todo = [node for node in todo if node.op in ("Mul", "RealDiv", "Div", "Exp")]
        if len(todo) != 1:
            return None
        node = todo[0]
        if node.op == "Exp":
            seen_exp = True
        elif node.op in ("Mul", "RealDiv", "Div"):
            constant = next((value for value in map(evaluator.value, node.inputs) if value is not None), None)
            if constant is None:
                return None
            if node.op == "Mul" and constant.size > 1 and seen_exp:
                return node, constant
        else:
            return None
        todo = list(graph.consumers(node.name))
    return None


def _ports(reader: Node, name: str) -> list[int]:
    return [port_of(ref) for ref in reader.inputs if node_of(ref) == name]


def _summand(graph: Graph, evaluator: Evaluator, product: Optional[tuple[Node, Array]]) -> Optional[Array]:
    """The number per anchor that is added to a product."""
    for reader in graph.consumers(product[0].name) if product else ():
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
            "convert the graph that export_inference_graph wrote, before other tools rewrote it",
        )
    return float(f"{middle:.7g}")
