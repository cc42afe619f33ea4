"""Small steps through a graph that the finders share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Optional

import numpy as np

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of

CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")


def upstream(graph: Graph, ref: str, ops: Iterable[str]) -> str:
    """Follow first inputs up through nodes of the given operations; the first tensor made by another operation."""
    passing = frozenset(ops)
    seen: set[str] = set()
    while graph[ref].op in passing and graph[ref].inputs and ref not in seen:
        seen.add(ref)
        ref = graph[ref].inputs[0]
    return ref


def nearest(graph: Graph, ref: str, wanted: Callable[[Node], bool]) -> Optional[Node]:
    """The nearest node at or above a tensor that satisfies a condition (breadth first)."""
    todo, seen = deque([node_of(ref)]), {node_of(ref)}
    while todo:
        node = graph[todo.popleft()]
        if wanted(node):
            return node
        for name in map(node_of, node.inputs):
            if name not in seen:
                seen.add(name)
                todo.append(name)
    return None


def scalar(evaluator: Evaluator, ref: str) -> Optional[float]:
    """The value of a one-element constant tensor, else None."""
    value = evaluator.value(ref)
    return float(np.ravel(value)[0]) if value is not None and value.size == 1 and value.dtype.kind in "fiub" else None
