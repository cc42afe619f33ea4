"""Settings of the graph's own non-maximum suppression."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.walk import scalar
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of

_NMS = ("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5")
#: A suppression of ``use_static_shapes`` is a function of TensorFlow 2's own, called with boxes, scores and settings.
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "StatelessPartitionedCall")
_CALL_INPUTS = 5
#: Of a suppression that is written out in plain operations: it sorts, and it loops.
_SORTS = ("TopKV2", "TopK")
_LOOPS = ("Enter", "While", "StatelessWhile")
#: Behind these, boxes are as the decoder made them.
_BOXES_READ = ("TensorArrayReadV3", "TensorArrayReadV2", "TensorListGetItem")
_BOXES_MADE = (*_BOXES_READ, "Exp")
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
        written_out: The suppression is made of plain operations, and its settings cannot be read from the graph.
    """

    score_threshold: float
    iou_threshold: float
    max_per_class: int
    max_total: int
    soft_sigma: float = 0.0
    class_agnostic: bool = False
    combined: bool = False
    clips_before: bool = False
    written_out: bool = False


def find_nms(graph: Graph, evaluator: Evaluator, num_classes: int, logits: str, batch: int = 1) -> NmsSettings:
    """The settings of the suppression.

    Args:
        num_classes: Classes without background.
        logits: The class logits, which it depends on.
        batch: Images that the graph takes at once.

    Raises:
        GraphError: There is no suppression, or its nodes disagree.
    """
    combined = graph.of("CombinedNonMaxSuppression")
    if combined:
        numbers = [scalar(evaluator, ref) for ref in combined[0].inputs[2:6]]
        per_class, total, iou, score = (0.0 if number is None else number for number in numbers)
        return NmsSettings(score, iou, _count(per_class), _count(total), combined=True)
    nodes = graph.of(*_NMS) or _calls(graph, evaluator, logits)
    if not nodes:
        if _is_written_out(graph, logits):
            return NmsSettings(-math.inf, 0.0, 0, 0, written_out=True)
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
        class_agnostic=_per_image(graph, nodes, batch) == 1 and num_classes > 1,
        clips_before=_clips(graph, nodes[0].inputs[0]),
    )


def _per_image(graph: Graph, nodes: list[Node], batch: int) -> int:
    """Suppressions for one image: a loop over the images holds them once, otherwise each image has its own."""
    loops = any(node.op in _BOXES_READ for node in graph.ancestors(node.inputs[0] for node in nodes[:1]).values())
    return len(nodes) if loops or len(nodes) % batch else len(nodes) // batch


def _calls(graph: Graph, evaluator: Evaluator, logits: str) -> list[Node]:
    """Calls of ``tf.image.non_max_suppression_padded``: boxes, scores, how many, IoU and score threshold, and more."""
    found = []
    below = graph.descendants([node_of(logits)])
    for node in graph.of(*_CALLS):
        if len(node.inputs) < _CALL_INPUTS or node.name not in below:
            continue
        values = [evaluator.value(ref) for ref in node.inputs[2:_CALL_INPUTS]]
        kinds = "".join(value.dtype.kind if value is not None and value.size == 1 else "-" for value in values)
        if kinds == "iff":
            found.append(node)
    return found


def _is_written_out(graph: Graph, logits: str) -> bool:
    """Whether what follows the scores sorts and loops: a suppression of plain operations (``use_static_shapes`` after
    a rewriting of the graph, ``use_partitioned_nms``)."""
    below = graph.descendants([node_of(logits)])
    ops = {node.op for node in graph if node.name in below}
    return bool(ops & set(_SORTS)) and bool(ops & set(_LOOPS))


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
    given = [scalar(evaluator, ref) for ref in node.inputs[3 : 5 if node.op in _CALLS else 6]]
    iou = given[0] if given else float(node.attr("iou_threshold", 0.5))
    score = given[1] if len(given) > 1 else None
    sigma = given[2] if len(given) > 2 else 0.0
    if score is None or math.isinf(score):  # filtered before the operation, in older exports
        score = _filter_above(graph, evaluator, node.inputs[1])
    if iou is None or sigma is None:
        raise GraphError(f"the thresholds of {node.name!r} are no constants", "constant settings are understood", "")
    return score, iou, _limit(graph, evaluator, node.inputs[2]), sigma


def _limit(graph: Graph, evaluator: Evaluator, ref: str) -> int:
    """The constant in ``min(constant, number of boxes)``; the smaller where both were folded into one constant."""
    node = graph[ref]
    if node.op == "Minimum":
        written = [r for r in node.inputs if graph[r].op == "Const"]
        constants = [scalar(evaluator, r) for r in (written if len(written) == 1 else node.inputs)]
        return next((_count(number) for number in constants if number is not None), 0)
    number = scalar(evaluator, ref)
    return 0 if number is None else _count(number)


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
    """How many survivors of all classes are kept: they are sorted, and the first ``min(constant, survivors)`` of them,
    counted by a Range, are gathered. 0 where no such limit is found."""
    own_limits = {node_of(node.inputs[2]) for node in nodes}
    below = graph.descendants([node.name for node in nodes])
    for node in graph:
        if node.op not in _GATHERS or node.name not in below or len(node.inputs) < 2:
            continue
        indices = graph[node.inputs[1]]
        if indices.op == "Range" and node_of(indices.inputs[1]) not in own_limits:
            bound = graph[indices.inputs[1]]
            if bound.op == "Minimum" or evaluator.value(bound.name) is not None:
                limit = _limit(graph, evaluator, bound.name)
                if limit:
                    return limit
        elif indices.op == "Const" and _counts_up(indices):  # the Range was folded
            return int(indices.value.size)
    return 0


def _counts_up(indices: Node) -> bool:
    value = indices.value
    return value.ndim == 1 and value.size > 0 and np.array_equal(value, np.arange(value.size))
