"""Settings of the graph's own non-maximum suppression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.walk import nearest, scalar
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of

_NMS = ("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5")
#: Behind these, boxes are as the decoder made them.
_BOXES_MADE = ("TensorArrayReadV3", "TensorArrayReadV2", "TensorListGetItem", "Exp")
_GATHERS = ("Gather", "GatherV2", "GatherNd")


@dataclass(frozen=True)
class NmsSettings:
    """Read from the NonMaxSuppression nodes; one node per class, or one in all.

    Attributes:
        score_threshold: Boxes at or below it are dropped; -inf where there is none.
        iou_threshold: For boxes of the same class.
        max_per_class, max_total: Detections kept per class, and in all (0: no limit was found).
        soft_sigma: Above 0 for soft-NMS.
        class_agnostic: One suppression over all classes.
        combined: A single CombinedNonMaxSuppression operation.
        clips_before: Boxes are clipped to the image before suppression, as exports to the spring of 2018 do.
    """

    score_threshold: float
    iou_threshold: float
    max_per_class: int
    max_total: int
    soft_sigma: float = 0.0
    class_agnostic: bool = False
    combined: bool = False
    clips_before: bool = False


def find_nms(graph: Graph, evaluator: Evaluator, num_classes: int) -> NmsSettings:
    """The settings of the suppression.

    Args:
        num_classes: Classes without background.

    Raises:
        GraphError: There is no suppression, or its nodes disagree.
    """
    combined = graph.of("CombinedNonMaxSuppression")
    if combined:
        numbers = [scalar(evaluator, ref) for ref in combined[0].inputs[2:6]]
        per_class, total, iou, score = (0.0 if number is None else number for number in numbers)
        return NmsSettings(score, iou, _count(per_class), _count(total), combined=True)
    nodes = graph.of(*_NMS)
    if not nodes:
        raise GraphError(
            "the graph has no non-maximum suppression",
            "its post-processing was cut off",
            "export it with export_inference_graph",
        )
    settings = {_one(graph, evaluator, node) for node in nodes}
    if len(settings) != 1:
        raise GraphError(
            f"the {len(nodes)} suppressions of the graph differ in their settings", "one setting for all is understood"
        )
    score, iou, per_class, sigma = next(iter(settings))
    return NmsSettings(
        score,
        iou,
        per_class,
        _total(graph, evaluator, nodes),
        sigma,
        class_agnostic=len(nodes) == 1 and num_classes > 1,
        clips_before=_clips(graph, nodes[0].inputs[0]),
    )


def _clips(graph: Graph, boxes: str) -> bool:
    """Whether all four coordinates pass a maximum of a minimum on their way from the decoder to the suppression."""
    inside: dict[str, Node] = {}
    todo = [node_of(boxes)]
    while todo:
        name = todo.pop()
        if name not in inside:
            inside[name] = graph[name]
            if graph[name].op not in _BOXES_MADE:
                todo.extend(node_of(ref) for ref in graph[name].inputs)
    bounded = [
        node for node in inside.values() if node.op == "Maximum" and any(graph[r].op == "Minimum" for r in node.inputs)
    ]
    return len(bounded) >= 4


def _one(graph: Graph, evaluator: Evaluator, node: Node) -> tuple[float, float, int, float]:
    given = [scalar(evaluator, ref) for ref in node.inputs[3:6]]
    iou = given[0] if given else float(node.attr("iou_threshold", 0.5))
    score = given[1] if len(given) > 1 else None
    sigma = given[2] if len(given) > 2 else 0.0
    if score is None or math.isinf(score):  # filtered before the operation, in older exports
        score = _filter_above(graph, evaluator, node.inputs[1])
    if iou is None or sigma is None:
        raise GraphError(f"the thresholds of {node.name!r} are no constants", "constant settings are understood", "")
    return score, iou, _limit(graph, evaluator, node.inputs[2]), sigma


def _limit(graph: Graph, evaluator: Evaluator, ref: str) -> int:
    """The constant in ``min(constant, number of boxes)``."""
    number = scalar(evaluator, ref)
    if number is not None:
        return _count(number)
    constants = [scalar(evaluator, r) for r in graph[ref].inputs] if graph[ref].op == "Minimum" else []
    return next((_count(number) for number in constants if number is not None), 0)


def _count(number: float) -> int:
    if not math.isfinite(number):
        raise GraphError(f"a suppression keeps {number} boxes", "a number is understood", "export the graph again")
    return int(number)


def _filter_above(graph: Graph, evaluator: Evaluator, scores: str) -> float:
    """The constant in ``scores > constant`` on the way to the suppression's scores."""
    ref: Optional[str] = scores
    for _ in range(8):
        if ref is None:
            break
        for reader in graph.consumers(node_of(ref)):
            number = scalar(evaluator, reader.inputs[1]) if reader.op == "Greater" and reader.inputs[0] == ref else None
            if number is not None:
                return number
        ref = graph[ref].inputs[0] if graph[ref].op in _GATHERS else None
    return -math.inf


def _total(graph: Graph, evaluator: Evaluator, nodes: list[Node]) -> int:
    """The constant in ``min(constant, survivors of all classes)``, downstream of the suppressions."""
    own_limits = {node_of(node.inputs[2]) for node in nodes}
    for node in graph.of("Minimum"):
        if node.name in own_limits:
            continue
        numbers = [scalar(evaluator, ref) for ref in node.inputs]
        if numbers.count(None) != 1:
            continue
        counted = node.inputs[numbers.index(None)]
        limit = numbers[1 - numbers.index(None)]
        if limit is not None and limit >= 1 and nearest(graph, counted, lambda n: n.op in _NMS) is not None:
            return _count(limit)
    return 0
