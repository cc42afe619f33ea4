"""Depthwise convolutions with several outputs per channel, as ordinary ones.

No real UFF file has a depth multiplier other than one, so how the parser reads such a kernel is unknown. The case that
occurs, the first layer of Inception v2, has three input channels: as an ordinary convolution it costs next to nothing.
"""

from __future__ import annotations

import numpy as np

from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.rewrites import Applied

#: An ordinary convolution multiplies the work by the number of input channels.
_MOST_CHANNELS = 16


def widen_depthwise(graph: Graph) -> Applied:
    count = 0
    for node in graph.of("DepthwiseConv2dNative"):
        kernel = graph[node.inputs[1]]
        if kernel.op != "Const" or kernel.value.shape[3] == 1 or kernel.value.shape[2] > _MOST_CHANNELS:
            continue
        weights = kernel.value
        height, width, channels, multiplier = weights.shape
        dense = np.zeros((height, width, channels, channels, multiplier), weights.dtype)
        for channel in range(channels):
            dense[:, :, channel, channel] = weights[:, :, channel]
        name = graph.unused_name(f"{kernel.name}/dense")
        graph.add(const(name, dense.reshape(height, width, channels, channels * multiplier)))
        attrs = {key: node.attr(key) for key in ("strides", "padding", "dilations", "data_format")}
        graph.add(Node(node.name, "Conv2D", [node.inputs[0], name], attrs))
        count += 1
    return Applied("depth multipliers", count, "depthwise convolutions with a multiplier made ordinary ones")
