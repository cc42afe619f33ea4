"""NMS_TRT's own assertions, worked out before the conversion: do boxes, scores and priors fit each other?"""

from __future__ import annotations

from typing import Optional

from jetlane.specs.catalogue import entry
from jetlane.specs.errors import ConversionError, GraphError
from jetlane.tasks.converter.dropin.plugin_fields import number, numbers
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node
from jetlane.tasks.converter.uff.parser_forms import image_shapes

#: Nodes that hand the elements of their first input on.
_FORWARDING = ("Identity", "Squeeze", "Reshape", "ConcatV2")


def check_counts(graph: Graph, nms: Node, known: Optional[list[int]] = None) -> None:
    """Hold the numbers of an NMS_TRT node with three inputs against each other, as far as they can be worked out.

    Args:
        known: The inputOrder that fits the node's inputs, where the model tells.

    Raises:
        ConversionError: What NMS_TRT would assert on the board, with the numbers that would be right.
    """
    order = [int(position) for position in numbers(nms, "inputOrder")] or [0, 2, 1]
    priors = [_priors(graph, ref) for ref in nms.inputs]
    where = [position for position, count in enumerate(priors) if count is not None]
    evaluator = Evaluator(graph, image_shapes(graph))
    counts = [_elements(graph, evaluator, ref) for ref in nms.inputs]
    right = known or (_order(counts, where[0], priors[where[0]]) if len(where) == 1 else None)
    remedy = f"; for its inputs {', '.join(nms.inputs)} it is {right}" if right else ""
    if sorted(order) != [0, 1, 2]:
        what = f"NMS_TRT {nms.name!r} has the inputOrder {order}, no order of three inputs{remedy}"
        raise _error("class-count", what)
    if len(where) == 1 and where[0] != order[2]:
        raise _error(
            "class-count",
            f"inputOrder {order} of {nms.name!r} takes {nms.inputs[order[2]]!r} for the priors, but they are input "
            f"{where[0]}, {nms.inputs[where[0]]!r}{remedy}",
        )
    if right and order != right:
        raise _error("class-count", f"inputOrder {order} of {nms.name!r} takes the scores for the boxes{remedy}")
    if len(where) != 1:
        return
    boxes, scores, wanted = counts[order[0]], counts[order[1]], priors[where[0]]
    if boxes is None or scores is None or not wanted:
        return
    classes = int(number(nms, "numClasses") or 0)
    if boxes != wanted * 4:
        maps = _feature_maps(graph, evaluator, nms.inputs[order[0]])
        hint = f"; the network's feature maps are {maps}" if maps else ""
        raise _error("prior-count", f"the network predicts {boxes // 4} boxes, the priors are {wanted}{hint}")
    if scores != wanted * classes:
        found = f"{scores // wanted}" if scores % wanted == 0 else f"{scores / wanted:.2f}"
        what = f"the network predicts {found} scores for each box (background included), numClasses is {classes}"
        raise _error("class-count", what)


def _order(counts: list[Optional[int]], where: int, priors: Optional[int]) -> Optional[list[int]]:
    """The inputOrder that the inputs' sizes tell: four numbers for each prior are its box."""
    first, second = (position for position in range(3) if position != where)
    fits = [priors is not None and counts[position] == priors * 4 for position in (first, second)]
    if fits[0] == fits[1]:
        return None
    return [first, second, where] if fits[0] else [second, first, where]


def _error(name: str, what: str) -> ConversionError:
    found = entry(name)
    return ConversionError(what, found.cause, found.remedy)


def _priors(graph: Graph, ref: str) -> Optional[int]:
    """How many priors a node brings; None where it brings something else."""
    node = graph[ref]
    if node.op in ("GridAnchor_TRT", "GridAnchorRect_TRT"):
        return _anchors(node)
    if node.op == "Const":
        shape = node.value.shape
        return shape[1] // 4 if len(shape) >= 2 and shape[0] == 2 else None
    return _priors(graph, node.inputs[0]) if node.op in _FORWARDING and node.inputs else None


def _anchors(node: Node) -> int:
    sizes = [int(size) for size in numbers(node, "featureMapShapes")]
    cells = [size * size for size in sizes]
    if node.op == "GridAnchorRect_TRT":
        cells = [height * width for height, width in zip(sizes[::2], sizes[1::2])]
    ratios = len(numbers(node, "aspectRatios"))
    # The lowest layer takes three boxes whatever the list says; the others one more than it has ratios.
    return sum(count * (3 if layer == 0 else ratios + 1) for layer, count in enumerate(cells))


def _elements(graph: Graph, evaluator: Evaluator, ref: str) -> Optional[int]:
    """Elements of one image's tensor."""
    node = graph[ref]
    if node.op == "FlattenConcat_TRT":
        parts = [_elements(graph, evaluator, name) for name in node.inputs]
        return None if None in parts else sum(part for part in parts if part is not None)
    if node.op == "Squeeze" and graph[node.inputs[0]].op == "FlattenConcat_TRT":
        return _elements(graph, evaluator, node.inputs[0])
    try:
        shape = evaluator.fact(ref).shape
    except GraphError:
        return None
    count = 1
    for size in shape or ():
        count *= size
    return count if shape else None


def _feature_maps(graph: Graph, evaluator: Evaluator, ref: str) -> list[int]:
    """Heights of the maps that the predictors behind a FlattenConcat_TRT see."""
    node = graph[ref]
    if node.op != "FlattenConcat_TRT":
        return []
    shapes = [evaluator.fact(graph[name].inputs[0]).shape for name in node.inputs if graph[name].op in _FORWARDING]
    return [shape[1] for shape in shapes if shape is not None and len(shape) == 4]
