"""Upsampling by repetition, however it is written, as one transposed convolution.

Feature pyramids repeat each pixel by reshaping through five or six dimensions, by stacking a map with itself, or by a
nearest-neighbour resize: none of which real UFF files contain. A transposed convolution whose kernel is the identity at
every tap gives the same, exactly, and its UFF form is known.

What a chain of reshapes does is not guessed from its form: it is run on a map of running numbers and compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

import numpy as np

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, const, node_of
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.shape_ops import Shape

#: Largest feature map that is tried out, in elements.
_LARGEST = 1 << 24

_MOVING = ("Reshape", "Pack", "Mul", "Tile", "ExpandDims", "Squeeze", "ConcatV2", "Transpose")


def upsample_by_convolution(graph: Graph, evaluator: Evaluator, outputs: Sequence[str]) -> Applied:
    """Rewrite each node that repeats the pixels of a feature map [1, h, w, C] a whole number of times.

    Args:
        outputs: The graph's outputs.
    """
    count = 0
    for node in reversed(graph.of("Reshape", "ResizeNearestNeighbor")):  # the last of a chain first
        if node.name not in graph.ancestors(outputs):
            continue  # part of a chain that was rewritten
        shape = evaluator.fact(node.name).shape
        if shape is None or len(shape) != 4:
            continue
        source = _source(graph, evaluator, node, shape) if node.op == "Reshape" else _resized(evaluator, node, shape)
        if source is None:
            continue
        small = evaluator.shape(source)
        factor, channels = shape[1] // small[1], shape[3]
        kernel = np.broadcast_to(np.eye(channels, dtype=np.float32), (factor, shape[2] // small[2], channels, channels))
        weights = graph.add(const(graph.unused_name(f"{node.name}/kernel"), np.ascontiguousarray(kernel)))
        size = graph.add(const(graph.unused_name(f"{node.name}/size"), np.array(shape, np.int32)))
        strides = [1, factor, shape[2] // small[2], 1]
        attrs = {"strides": strides, "padding": "VALID", "data_format": "NHWC"}
        graph.add(Node(node.name, "Conv2DBackpropInput", [size.name, weights.name, source], attrs))
        count += 1
    return Applied("upsampling", count, "repetitions of pixels made transposed convolutions")


def _grows(small: Optional[Shape], shape: Shape) -> bool:
    return (
        small is not None
        and len(small) == 4
        and small[0] == shape[0] == 1
        and small[3] == shape[3]
        and min(small) > 0
        and math.prod(shape) <= _LARGEST
        and shape[1] % small[1] == 0
        and shape[2] % small[2] == 0
        and shape[1] * shape[2] > small[1] * small[2]
    )


def _source(graph: Graph, evaluator: Evaluator, node: Node, shape: Shape) -> Optional[str]:
    """The farthest feature map above a node whose pixels the nodes between only repeat."""
    found: Optional[str] = None
    chain, frontier = [node], {node.inputs[0]}
    while len(chain) < 12:
        source = next(iter(frontier)) if len(frontier) == 1 else None
        if source and _grows(evaluator.fact(source).shape, shape) and _repeats(evaluator, chain, source, shape):
            found = source
        if not frontier or not all(graph[ref].op in _MOVING for ref in frontier):
            return found
        chain.extend(graph[ref] for ref in frontier)
        frontier = {r for ref in frontier for r in graph[ref].inputs if evaluator.value(r) is None}
    return found


def _repeats(evaluator: Evaluator, chain: list[Node], source: str, shape: Shape) -> bool:
    """Run the nodes between on running numbers, and compare with repetition."""
    small = evaluator.shape(source)
    numbers = np.arange(np.prod(small), dtype=np.float32).reshape(small)
    between = Graph(chain)
    for node in chain:
        for ref in node.inputs:
            value = numbers if ref == source else evaluator.value(ref)
            if value is not None:
                between.add(const(node_of(ref), value))
    result = Evaluator(between).value(chain[0].name)
    expected = numbers.repeat(shape[1] // small[1], 1).repeat(shape[2] // small[2], 2)
    return result is not None and np.array_equal(result, expected)


def _resized(evaluator: Evaluator, node: Node, shape: Shape) -> Optional[str]:
    """A nearest-neighbour resize by whole factors repeats pixels, unless corners are aligned."""
    grows = _grows(evaluator.fact(node.inputs[0]).shape, shape)
    return node.inputs[0] if grows and not node.attr("align_corners", False) else None
