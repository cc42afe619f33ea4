"""The predictor heads: per level a convolution for boxes and one for classes, joined by two concatenations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.walk import CONVOLUTIONS, nearest, scalar, upstream
from jetlane.tasks.converter.graph.graph import Graph, Node

_SHAPE_ONLY = ("Squeeze", "Reshape", "ExpandDims")
_BIASES = ("BiasAdd", "Add", "AddV2", "FusedBatchNorm", "FusedBatchNormV3", "Mul", "Sub")


@dataclass(frozen=True)
class Joint:
    """A concatenation over the levels.

    Attributes:
        concat: Tensor [N, anchors, ...] over all levels.
        reshapes: Per level, the node that gives the level its form [N, anchors, ...].
        outputs: Per level, the convolution's output with its bias, [N, h, w, channels].
    """

    concat: str
    reshapes: tuple[str, ...]
    outputs: tuple[str, ...]


def find_box_joint(graph: Graph, encodings: str) -> Joint:
    """The concatenation that makes the box encodings.

    Raises:
        GraphError: The encodings are not made of several levels.
    """
    concat = graph[upstream(graph, encodings, _SHAPE_ONLY)]
    joint = _joint(graph, concat)
    if joint is None:
        raise GraphError(
            "the box predictors cannot be found",
            f"the box encodings come from {concat.op} {concat.name!r}, not from a concatenation of convolutions",
            "a convolutional SSD box predictor with two or more levels is understood",
        )
    return joint


def find_class_joint(graph: Graph, boxes: Joint) -> Joint:
    """The concatenation that makes the class logits: the other one over the same number of convolutions that reaches
    a score conversion or the removal of the background.

    Raises:
        GraphError: None, or several.
    """
    found: list[Joint] = []
    for node in graph.of("ConcatV2", "Concat"):
        if node.name == boxes.concat or len(node.inputs) != len(boxes.outputs) + 1:
            continue
        joint = _joint(graph, node)
        if joint is not None and not set(joint.outputs) & set(boxes.outputs):
            found.append(joint)
    if len(found) != 1:
        raise GraphError(
            f"{len(found)} class predictors were found where one is expected",
            "masks, keypoints and other further predictions are not understood" if found else "the graph is no SSD",
            "",
        )
    return found[0]


def _joint(graph: Graph, concat: Node) -> Optional[Joint]:
    if concat.op not in ("ConcatV2", "Concat"):
        return None
    parts = concat.inputs[:-1] if concat.op == "ConcatV2" else concat.inputs[1:]
    reshapes: list[str] = []
    outputs: list[str] = []
    for part in parts:
        reshape = upstream(graph, part, ("Squeeze", "ExpandDims"))
        if graph[reshape].op != "Reshape":
            return None
        output = upstream(graph, reshape, _SHAPE_ONLY)
        if graph[upstream(graph, output, _BIASES)].op not in CONVOLUTIONS:
            return None
        reshapes.append(reshape)
        outputs.append(output)
    return Joint(concat.name, tuple(reshapes), tuple(outputs))


@dataclass(frozen=True)
class Scores:
    """How class logits become scores.

    Attributes:
        converter: ``SIGMOID``, ``SOFTMAX`` or ``IDENTITY``.
        logit_scale: What logits are divided by first.
        without_background: The background's column is taken away before the conversion (matters to a softmax).
        slices_background: A column is taken away at all.
    """

    converter: str
    logit_scale: float
    without_background: bool
    slices_background: bool


def find_scores(graph: Graph, evaluator: Evaluator, concat: str) -> Scores:
    """Follow the class logits down to their scores.

    Raises:
        GraphError: The way is not understood.
    """
    ref, scale, converter, before, sliced = concat, 1.0, "", False, False
    for _ in range(16):
        readers = [
            node for node in graph.consumers(ref) if node.op in ("RealDiv", "Mul", "Slice", "StridedSlice", "Reshape")
        ]
        activations = [node for node in graph.consumers(ref) if node.op in ("Sigmoid", "Softmax")]
        if activations and not converter:
            converter = activations[0].op.upper()
            before = sliced
            ref = activations[0].name
            continue
        step = None
        for node in readers:
            if node.op in ("RealDiv", "Mul") and not converter:
                number = scalar(evaluator, node.inputs[1]) or scalar(evaluator, node.inputs[0])
                if number:
                    scale *= number if node.op == "RealDiv" else 1 / number
                    step = node
            elif node.op in ("Slice", "StridedSlice") and _drops_first_column(evaluator, node):
                sliced = True
                step = node
            elif node.op == "Reshape" and _leads_to_activation(graph, node):
                step = node
        if step is None:
            break
        ref = step.name
    return Scores(converter or "IDENTITY", float(scale), before, sliced)


def _drops_first_column(evaluator: Evaluator, node: Node) -> bool:
    begin = evaluator.value(node.inputs[1])
    return begin is not None and begin.size == 3 and [int(b) for b in np.ravel(begin)] == [0, 0, 1]


def _leads_to_activation(graph: Graph, node: Node) -> bool:
    return any(reader.op in ("Sigmoid", "Softmax") for reader in graph.consumers(node.name))


def first_convolution(graph: Graph, output: str) -> Node:
    """The convolution nearest to the image, above a predictor's output.

    Raises:
        GraphError: There is none.
    """
    node = nearest(graph, output, lambda n: n.op in CONVOLUTIONS)
    if node is None:
        raise GraphError("the network has no convolution", "the graph is no convolutional SSD", "")
    seen: set[str] = set()
    while True:
        found = nearest(graph, node.inputs[0], lambda n: n.op in CONVOLUTIONS) if node.inputs else None
        if found is None:
            return node
        if found.name in seen:
            raise GraphError(
                "the network contains a loop", f"{found.name!r} depends on itself", "export the graph again"
            )
        seen.add(found.name)
        node = found
