"""Explicit zero padding in front of a convolution, as the convolution's own.

Keras pads stride-two convolutions by hand; exports of 2017 append rows and columns of zeros by concatenation. UFF knows
SAME, which every real file has, and a symmetric padding. So the padding in front is added to the convolution's own, and
expressed as SAME where the sum is what SAME gives at that size, else as a symmetric Pad, which the converter makes a
field. An asymmetric sum is made symmetric by a kernel with a margin of zeros, which changes nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jetlane.tasks.converter.arithmetic import same_padding
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.shape_ops import channels_first, spatial

#: A wider margin would cost more than the padding it replaces.
_WIDEST_MARGIN = 8

Amounts = np.ndarray[Any, Any]  # int [4, 2]: before and after, per dimension


def zeros_to_pads(graph: Graph, evaluator: Evaluator) -> Applied:
    """Turn the concatenation of one tensor with zeros into a Pad; empty parts are dropped."""
    count = 0
    for node in graph.of("ConcatV2"):
        parts = node.inputs[:-1]
        constants = [evaluator.value(ref) for ref in parts]
        data = [index for index, value in enumerate(constants) if value is None]
        if len(data) != 1 or any(value is not None and np.any(value) for value in constants):
            continue
        evaluator.shape(node.name)  # the parts fit each other
        shape = evaluator.shape(parts[data[0]])
        axis = np.asarray(evaluator.value(node.inputs[-1])).item() % len(shape)
        sizes = [0 if value is None else value.shape[axis] for value in constants]
        amounts = np.zeros((len(shape), 2), np.int32)
        amounts[axis] = sum(sizes[: data[0]]), sum(sizes[data[0] :])
        paddings = graph.add(const(graph.unused_name(f"{node.name}/paddings"), amounts))
        graph.add(Node(node.name, "Pad", [parts[data[0]], paddings.name]))
        count += 1
    return Applied("zeros", count, "concatenations with zeros made paddings")


def absorb_paddings(graph: Graph, evaluator: Evaluator) -> Applied:
    """Give convolutions the paddings in front of them."""
    count = 0
    # A maximum over padded zeros is not a maximum over SAME's empty margin: convolutions alone are rewritten.
    for node in graph.of("Conv2D", "DepthwiseConv2dNative"):
        source, before = _paddings_above(graph, evaluator, node.inputs[0])
        kernel = evaluator.value(node.inputs[1])
        if source == node.inputs[0] or kernel is None or channels_first(node) or np.any(before[[0, 3]]):
            continue
        shape, strides, dilations = evaluator.shape(source), spatial(node, "strides"), spatial(node, "dilations")
        reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilations)]
        total = before.copy()
        if node.attr("padding") == "SAME":
            padded = evaluator.shape(node.inputs[0])
            total[1:3] += [same_padding(padded[a + 1], reach[a], strides[a]) for a in (0, 1)]
        margins = [(max(0, after - ahead), max(0, ahead - after)) for ahead, after in total[1:3]]
        if np.any(margins) and (dilations != (1, 1) or np.max(margins) > _WIDEST_MARGIN):
            continue
        weights = node.inputs[1]
        if np.any(margins):
            weights = graph.add(
                const(graph.unused_name(f"{weights}/padded"), np.pad(kernel, [*margins, (0, 0), (0, 0)]))
            ).name
            total[1:3] += np.array(margins)
            reach = [r + sum(m) for r, m in zip(reach, margins)]
        attrs = {key: node.attr(key) for key in ("strides", "dilations", "data_format")}
        if all(tuple(total[a + 1]) == same_padding(shape[a + 1], reach[a], strides[a]) for a in (0, 1)):
            graph.add(Node(node.name, node.op, [source, weights], {**attrs, "padding": "SAME"}))
        else:
            amounts = graph.add(const(graph.unused_name(f"{node.name}/paddings"), total.astype(np.int32)))
            pad = graph.add(Node(graph.unused_name(f"{node.name}/pad"), "Pad", [source, amounts.name]))
            graph.add(Node(node.name, node.op, [pad.name, weights], {**attrs, "padding": "VALID"}))
        count += 1
    return Applied("paddings", count, "explicit paddings made the convolutions' own")


def _paddings_above(graph: Graph, evaluator: Evaluator, ref: str) -> tuple[str, Amounts]:
    """The tensor above a chain of Pads, and their sum."""
    total = np.zeros((4, 2), np.int64)
    while graph[ref].op == "Pad":
        amounts = evaluator.value(graph[ref].inputs[1])
        if amounts is None or amounts.shape != (4, 2):
            break
        total += amounts
        ref = graph[ref].inputs[0]
    return ref, total
