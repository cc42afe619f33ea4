"""A pixel that a product or sum stretches over a feature map, as squeeze-and-excitation does, repeated by convolutions.

Real UFF files stretch constants only, and whether the parser stretches what was computed is not known. So the pixel is
repeated first: padded with zeros so far that a kernel of ones, one side at a time, meets it at every place. What comes
out is the pixel's own numbers, and the product is one of maps of the same size. Depthwise convolutions are known in
UFF, and so is their symmetric padding.
"""

from __future__ import annotations

import numpy as np

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, const, node_of
from jetlane.tasks.converter.graph.rewrites import Applied

_OPERATIONS = ("Mul", "Add", "AddV2", "Sub", "RealDiv")


def repeat_stretched_pixels(graph: Graph, evaluator: Evaluator) -> Applied:
    """Repeat each computed [1, 1, 1, C] that meets a computed [1, h, w, C]."""
    count = 0
    for node in graph.of(*_OPERATIONS):
        if len(node.inputs) != 2 or any(evaluator.value(ref) is not None for ref in node.inputs):
            continue
        shapes = [evaluator.fact(ref).shape for ref in node.inputs]
        for place, (pixel, whole) in enumerate((shapes, shapes[::-1])):
            if whole is None or len(whole) != 4 or pixel == whole or pixel != (1, 1, 1, whole[3]):
                continue
            for axis in (1, 2):
                if whole[axis] > 1:
                    node.inputs[place] = _repeated(graph, node.inputs[place], axis, whole[axis], whole[3])
            graph.changed()
            count += 1
    return Applied("stretching", count, "pixels stretched over a feature map repeated by convolutions with ones")


def _repeated(graph: Graph, pixel: str, axis: int, size: int, channels: int) -> str:
    """A tensor that is 1 along ``axis``, repeated along it."""
    name = graph.unused_name(f"{node_of(pixel)}/repeated")
    amounts = np.zeros((4, 2), np.int32)
    amounts[axis] = size - 1
    taps = (size, 1) if axis == 1 else (1, size)
    margins = graph.add(const(f"{name}/margins", amounts))
    ones = graph.add(const(f"{name}/ones", np.ones((*taps, channels, 1), np.float32)))
    padded = graph.add(Node(f"{name}/padded", "Pad", [pixel, margins.name], {"T": FLOAT}))
    attributes = {"strides": [1, 1, 1, 1], "padding": "VALID", "data_format": "NHWC", "T": FLOAT}
    return graph.add(Node(name, "DepthwiseConv2dNative", [padded.name, ones.name], attributes)).name
