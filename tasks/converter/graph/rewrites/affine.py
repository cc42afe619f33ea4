"""Fold per-channel scales and offsets that follow a convolution into its kernel and one bias.

A convolution with a bias (``Conv``, ``Binary add`` with a constant of its channels) is the pattern of every box
predictor in real UFF files, so the parser is known to read it; and it is the fastest form there is: batch norm costs
nothing at run time, and TensorRT and onnxruntime fuse convolution, bias and activation into one kernel. A kernel that
several convolutions share is not scaled, as each would need a copy: there the multiplication stays, which real files
have too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.arithmetic import affine
from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.shape_ops import channels_first

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_FUNCTIONS = {"BiasAdd": "add", "Add": "add", "AddV2": "add", "Sub": "sub", "Mul": "mul", "RealDiv": "div"}


def fold_affine(graph: Graph, outputs: Iterable[str]) -> Applied:
    """Fold what can be folded; the last node of each chain keeps its name and becomes the bias.

    Args:
        outputs: Names of nodes that are read from outside: no chain goes past one.
    """
    ends = set(outputs)
    count = 0
    for convolution in graph.of(*_CONVOLUTIONS):
        kernel = graph[convolution.inputs[1]]
        if kernel.op == "Const" and not channels_first(convolution):
            count += _fold_one(graph, convolution, kernel, ends)
    return Applied("scales and offsets", count, "per-channel operations folded into convolutions")


def _fold_one(graph: Graph, convolution: Node, kernel: Node, ends: set[str]) -> int:
    weights = kernel.value
    depthwise = convolution.op == "DepthwiseConv2dNative"
    channels = weights.shape[2] * weights.shape[3] if depthwise else weights.shape[3]
    shared = len(graph.consumers(kernel.name)) > 1
    scale, offset = np.ones(channels), np.zeros(channels)
    tail, folded = convolution, 0
    while tail.name not in ends:
        readers = graph.consumers(tail.name)
        step = _step(graph, readers[0], tail.name, channels) if len(readers) == 1 else None
        if step is None or (shared and not np.all(step[0] == 1)):
            break
        scale, offset = scale * step[0], offset * step[0] + step[1]
        tail, folded = readers[0], folded + 1
    if not folded:
        return 0
    if not np.all(scale == 1):
        factors = scale.reshape(weights.shape[2:]) if depthwise else scale
        graph.add(const(kernel.name, (weights.astype(np.float64) * factors).astype(np.float32)))
    bias = graph.add(const(graph.unused_name(f"{convolution.name}/bias"), offset.astype(np.float32)))
    graph.add(Node(tail.name, "BiasAdd", [convolution.name, bias.name]))
    return folded


def _step(graph: Graph, node: Node, data: str, channels: int) -> Optional[tuple[Any, Any]]:
    """(scale, offset) of a per-channel operation with a constant, float64 [channels]; None for anything else."""
    if node.op not in _FUNCTIONS or len(node.inputs) != 2:
        return None
    position = node.inputs.index(data) if data in node.inputs else -1
    other = graph[node.inputs[1 - position]] if position >= 0 else None
    if other is None or other.op != "Const":
        return None
    return affine(_FUNCTIONS[node.op], other.value, channels, constant_first=position == 1)
