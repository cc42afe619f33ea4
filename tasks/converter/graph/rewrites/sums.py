"""Sums of several tensors at once, as additions of two: what Grappler made of a chain of them, undone."""

from __future__ import annotations

from jetlane.tasks.converter.graph.graph import Graph, Node
from jetlane.tasks.converter.graph.rewrites import Applied


def split_sums(graph: Graph) -> Applied:
    """Turn each AddN into additions in its order; the last keeps its name."""
    count = 0
    for node in graph.of("AddN", "AccumulateNV2"):
        total = node.inputs[0]
        for place, ref in enumerate(node.inputs[1:], 2):
            name = node.name if place == len(node.inputs) else graph.unused_name(f"{node.name}/sum")
            total = graph.add(Node(name, "AddV2", [total, ref])).name
        if len(node.inputs) == 1:
            graph.add(Node(node.name, "Identity", [total]))
        count += 1
    return Applied("sums", count, "sums of several tensors made additions of two")
