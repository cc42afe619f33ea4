"""A Pad in front of a VALID convolution or pooling that pads just as SAME would, as SAME.

Keras pads stride-two convolutions by hand, with the very amounts that SAME gives at that size. UFF has no asymmetric
padding of its own, but SAME is in every real file.
"""

from __future__ import annotations

import numpy as np

from jetlane.tasks.graph.evaluate import Evaluator
from jetlane.tasks.graph.graph import Graph, Node
from jetlane.tasks.graph.rewrites import Applied
from jetlane.tasks.graph.shape_ops import channels_first, spatial


def same_paddings(graph: Graph, evaluator: Evaluator) -> Applied:
    count = 0
    # A maximum over padded zeros is not a maximum over SAME's empty margin: convolutions alone are rewritten.
    for node in graph.of("Conv2D", "DepthwiseConv2dNative"):
        pad = graph[node.inputs[0]]
        if pad.op != "Pad" or node.attr("padding") != "VALID":
            continue
        amounts, shape = evaluator.value(pad.inputs[1]), evaluator.shape(pad.inputs[0])
        kernel = evaluator.shape(node.inputs[1])
        if amounts is None or amounts.shape != (4, 2):
            continue
        axes = (2, 3) if channels_first(node) else (1, 2)
        wanted = np.zeros((4, 2), np.int64)
        for axis, k, stride, dilation in zip(axes, kernel, spatial(node, "strides"), spatial(node, "dilations")):
            wanted[axis] = _same(shape[axis], (k - 1) * dilation + 1, stride)
        if np.array_equal(amounts, wanted):
            attrs = {key: node.attr(key) for key in ("strides", "dilations", "data_format")}
            graph.add(Node(node.name, node.op, [pad.inputs[0], node.inputs[1]], {**attrs, "padding": "SAME"}))
            count += 1
    return Applied("paddings", count, "explicit paddings equal to SAME made implicit")


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after that SAME gives one axis."""
    total = max(0, (-(-size // stride) - 1) * stride + kernel - size)
    return total // 2, total - total // 2
