"""Drop control inputs: they order side effects (asserts, loop constants), and a converted network has none."""

from __future__ import annotations

from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.graph.rewrites import Applied


def drop_control_inputs(graph: Graph) -> Applied:
    count = 0
    for node in graph:
        kept = [ref for ref in node.inputs if not ref.startswith("^")]
        count += len(node.inputs) - len(kept)
        node.inputs = kept
    graph.changed()
    return Applied("control inputs", count, "control edges dropped")
