"""A slice of a map as convolutions with a single one: over rows and columns depthwise, over channels 1x1."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, const
from jetlane.tasks.converter.graph.shape_ops import Shape
from jetlane.tasks.converter.graph.value_ops import strided_slice

Array = np.ndarray[Any, Any]


def sliced(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """Rewrite a StridedSlice of a map; False where it is none, or takes its pixels otherwise than a window does."""
    shape = evaluator.fact(node.inputs[0]).shape
    bounds = [evaluator.value(ref) for ref in node.inputs[1:]]
    if evaluator.value(node.inputs[0]) is not None or shape is None or len(shape) != 4:
        return False
    ranges = _ranges(node, shape, bounds)
    if ranges is None or len(ranges[0]) != shape[0] or any(len(r) == 0 or r.step < 0 for r in ranges):
        return False
    kernels = []
    if any(r != range(size) for r, size in zip(ranges[1:3], shape[1:3])):
        taps, strides = zip(*(_tap(r, size) for r, size in zip(ranges[1:3], shape[1:3])))
        kernel = np.einsum("i,j->ij", *taps)[:, :, None, None]
        spread = np.broadcast_to(kernel, (*kernel.shape[:2], shape[3], 1)).astype(np.float32)
        kernels.append(("DepthwiseConv2dNative", spread, [1, *strides, 1]))
    if ranges[3] != range(shape[3]) or not kernels:
        chosen = np.eye(shape[3], dtype=np.float32)[:, list(ranges[3])]
        kernels.append(("Conv2D", chosen[None, None], [1, 1, 1, 1]))
    data = node.inputs[0]
    for index, (op, kernel, window) in enumerate(kernels):
        last = index == len(kernels) - 1
        name = node.name if last else graph.unused_name(f"{node.name}/pixels")
        weights = graph.add(const(graph.unused_name(f"{name}/taps"), np.ascontiguousarray(kernel))).name
        attributes = {"strides": window, "padding": "VALID", "data_format": "NHWC", "T": FLOAT}
        data = graph.add(Node(name, op, [data, weights], attributes)).name
    return True


def _ranges(node: Node, shape: Shape, bounds: list[Optional[Array]]) -> Optional[list[range]]:
    """The indices that a slice takes of each axis; None where it drops or adds an axis, or is not known."""
    known = [bound for bound in bounds if bound is not None]
    if len(known) != len(bounds) or node.attr("shrink_axis_mask", 0) or node.attr("new_axis_mask", 0):
        return None
    found = []
    for axis, size in enumerate(shape):
        numbers = np.arange(size).reshape([-1 if a == axis else 1 for a in range(4)])
        (cut,) = strided_slice(node, np.broadcast_to(numbers, shape), *known)
        taken = np.unique(cut)  # ascending: its first number shows whether it ran backwards
        if cut.size == 0 or (taken.size > 1 and cut.ravel()[0] != taken[0]):
            return None
        step = int(taken[1] - taken[0]) if taken.size > 1 else 1
        found.append(range(int(taken[0]), int(taken[-1]) + 1, step))
    return found


def _tap(taken: range, size: int) -> tuple[Array, int]:
    """(taps, stride) of the shortest window without padding that takes these indices of an axis."""
    taps = np.zeros(max(taken.start + 1, size - len(taken) * taken.step + 1))
    taps[taken.start] = 1
    return taps, taken.step
