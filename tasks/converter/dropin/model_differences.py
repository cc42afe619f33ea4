"""A script's plugin nodes, held against what the graph it started from says itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.dropin.anchor_differences import anchor_differences, constant_differences
from jetlane.tasks.converter.dropin.plugin_fields import (
    FLATTEN,
    GRID_ANCHORS,
    Difference,
    number,
    shown,
    wrong_kinds,
)
from jetlane.tasks.converter.dropin.plugin_inputs import data_above, input_order, is_priors, predictors
from jetlane.tasks.converter.graph.graph import Graph, Node
from jetlane.tasks.converter.graph.load import graph_from_message
from jetlane.tasks.converter.graph.ssd import SsdGraph, read_ssd
from jetlane.tasks.converter.ssd.derive import DEPLOYMENT_THRESHOLD, EVALUATION_THRESHOLD, LEAST_TOP_K, MOST_TOP_K
from jetlane.tasks.converter.ssd.params import TF_CENTER

#: Relative; thresholds that are closer are the same number in float32.
_SAME = 1e-5


def model_of(original: Any, script: Graph) -> SsdGraph:
    """The SSD of the graph that a script started from.

    Args:
        original: Its GraphDef.
        script: What the script left: its input's size is taken where the graph leaves it open.

    Raises:
        GraphError: It is no SSD that can be understood.
    """
    graph = graph_from_message(original)
    try:
        return read_ssd(graph)
    except GraphError as error:
        sizes = [shape for node in script.of("Placeholder") if (shape := node.attr("shape")) and len(shape) == 4]
        if not sizes or min(sizes[0][2:]) < 1:
            raise
        try:
            return read_ssd(graph, (sizes[0][2], sizes[0][3]))
        except GraphError:
            raise error from None


def differences(graph: Graph, nodes: list[Node], nms: Node, ssd: SsdGraph) -> list[Difference]:
    """What the nodes that will be converted say otherwise than the model.

    Args:
        nodes: Those that the outputs depend on.
    """
    found: list[Difference] = []
    for node in nodes:
        found += wrong_kinds(node)
        if node.op in GRID_ANCHORS:
            found += anchor_differences(node, ssd)
        elif node.op == FLATTEN:
            found += _flatten(node)
        elif node.op == "Placeholder":
            found += _input(node, ssd)
        elif node.op == "Const" and is_priors(node) and node.name in _above(graph, nms, ssd):
            found += constant_differences(node, ssd)
        elif node.op in ("Concat", "ConcatV2") and any(graph[ref].op in GRID_ANCHORS for ref in node.inputs):
            found += _told(node, "axis", node.any_attr("axis", _axis_input(graph, node)), 2)
    scores = _scores(graph, nms, ssd)
    return [*found, *_nms(nms, ssd, scores), *_foreign(nms, ssd, scores)]


def _above(graph: Graph, nms: Node, ssd: SsdGraph) -> set[str]:
    """What stands between the predictors' outputs and NMS_TRT."""
    boxes, classes = predictors(ssd)
    return data_above(graph, nms.inputs, boxes | classes) - boxes - classes


def _flatten(node: Node) -> Iterable[Difference]:
    axis, batch = number(node, "axis"), number(node, "ignoreBatch")
    if axis is None:
        text = (
            "it is not given; the plugin needs axis=1, ignoreBatch=0 (libflattenconcat.so of TensorRT 5 and 6 does not)"
        )
        yield Difference(node.name, "axis", text)
    elif axis != 1:
        yield from _told(node, "axis", axis, 1)
    if batch is None and axis is not None:
        yield Difference(node.name, "ignoreBatch", "it is not given, TensorRT 8.5 and later need it: ignoreBatch=0")
    elif batch:
        yield from _told(node, "ignoreBatch", batch, 0)


def _input(node: Node, ssd: SsdGraph) -> Iterable[Difference]:
    shape = node.attr("shape")
    right = [1, 3, *ssd.input_size]
    given = list(shape) if shape is not None else None
    channels_last = [*ssd.input_size, 3]  # which scripts register as channels, height, width all the same
    if given is None or given[1:] not in (right[1:], channels_last):
        yield from _told(node, "shape", given, right)


def _nms(node: Node, ssd: SsdGraph, scores: set[str]) -> Iterable[Difference]:
    own, classes = ssd.nms, ssd.num_classes
    rights = {
        "shareLocation": (1, "boxes are shared by all classes"),
        "varianceEncodedInTarget": (0, ""),
        "isNormalized": (1, "boxes are 0..1 of the image"),
        "backgroundLabelId": (0 if ssd.scores.slices_background else -1, ""),
        "numClasses": (classes, "background included"),
        "confSigmoid": (int(ssd.scores.converter == "SIGMOID" and not scores), _score_words(ssd, scores)),
    }
    for name, (right, why) in rights.items():
        yield from _told(node, name, number(node, name), right, why)
    if number(node, "codeType") is not None:  # without it the plugin takes the right one
        yield from _told(node, "codeType", number(node, "codeType"), TF_CENTER, "TF_CENTER: faster_rcnn_box_coder's")
    if number(node, "isBatchAgnostic") is not None:
        yield from _told(node, "isBatchAgnostic", number(node, "isBatchAgnostic"), 1, "priors are those of image 0")
    yield from _told(node, "nmsThreshold", number(node, "nmsThreshold"), own.iou_threshold, "the model's iou_threshold")
    yield from _limits(node, ssd)
    threshold, lowest = number(node, "confidenceThreshold"), max(0.0, own.score_threshold)
    accepted = (lowest, max(DEPLOYMENT_THRESHOLD, lowest), max(EVALUATION_THRESHOLD, lowest))
    if threshold is None or not any(_same(threshold, value) for value in accepted):
        yield from _told(
            node, "confidenceThreshold", threshold, lowest, "its score_threshold", taste=threshold is not None
        )


def _limits(node: Node, ssd: SsdGraph) -> Iterable[Difference]:
    """topK and keepTopK: what the plugin fails at is wrong, another number than the model's is a choice."""
    top_k, keep = number(node, "topK"), number(node, "keepTopK")
    most = min(ssd.num_priors, MOST_TOP_K)
    per_class, total = ssd.nms.max_per_class, ssd.nms.max_total
    right = min(max(LEAST_TOP_K, per_class), most)
    if top_k is None or not 1 <= top_k <= most:
        why = f"the plugin takes 1 to {most} here"
        yield from _told(node, "topK", top_k, right, why)
    elif top_k not in (per_class, right):
        yield from _told(node, "topK", top_k, per_class or right, "its max_detections_per_class", taste=True)
    right = min(total or right, int(top_k) if top_k and 1 <= top_k <= most else right)
    if keep is None or keep < 1 or (top_k is not None and keep > top_k):
        yield from _told(node, "keepTopK", keep, right, "above topK the plugin writes nothing")
    elif keep not in (total, right):
        yield from _told(node, "keepTopK", keep, right, "its max_total_detections", taste=True)


def _scores(graph: Graph, nms: Node, ssd: SsdGraph) -> set[str]:
    """Score conversions that the script left, or put, between the class predictors and NMS_TRT."""
    order = input_order(graph, nms, ssd)
    if order is None:
        return set()
    classes = predictors(ssd)[1]
    between = data_above(graph, [nms.inputs[order[1]]], classes) - classes
    return {op for name in between if (op := graph[name].op) in ("Sigmoid", "Softmax")}


def _score_words(ssd: SsdGraph, scores: set[str]) -> str:
    if scores:
        return f"the script's graph has a {' and a '.join(sorted(scores))} already"
    if ssd.scores.converter == "SOFTMAX":
        return "the model's scores are a softmax"
    return f"the model's score converter is {ssd.scores.converter}"


def _foreign(node: Node, ssd: SsdGraph, scores: set[str]) -> Iterable[Difference]:
    """What of the model's post-processing NMS_TRT has not."""
    if ssd.scores.converter == "SOFTMAX" and "Softmax" not in scores:
        text = "the model's scores are a softmax, which NMS_TRT has not: put a Softmax over the classes before it"
        yield Difference(node.name, "score_converter", f"{text}, or use `jetlane convert`, which does")
    if not _same(ssd.scores.logit_scale, 1):
        text = f"the model divides its logits by {ssd.scores.logit_scale:g}, NMS_TRT does not: `jetlane convert` does"
        yield Difference(node.name, "logit_scale", text)
    if ssd.nms.soft_sigma > 0:
        text = f"the model suppresses softly (soft_nms_sigma {ssd.nms.soft_sigma:g}), NMS_TRT hard: export it with 0"
        yield Difference(node.name, "soft_nms_sigma", text)
    if ssd.nms.class_agnostic:
        text = "the model suppresses over all classes, NMS_TRT class by class: export it without use_class_agnostic_nms"
        yield Difference(node.name, "use_class_agnostic_nms", text)


def _axis_input(graph: Graph, node: Node) -> Optional[int]:
    last = graph[node.inputs[-1]]
    return int(last.value.item()) if last.op == "Const" and last.value.size == 1 else None


def _told(node: Node, name: str, given: Any, right: Any, why: str = "", taste: bool = False) -> Iterable[Difference]:
    if given is not None and not isinstance(given, list) and _same(float(given), float(right)):
        return
    said = "the script gives none (the plugin has no default)" if given is None else f"the script has {shown(given)}"
    yield Difference(node.name, name, f"{said}, the model {shown(right)}{f' ({why})' if why else ''}", taste)


def _same(left: float, right: float) -> bool:
    return abs(left - right) <= _SAME * abs(right) if right else left == right
