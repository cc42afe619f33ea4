"""Fold whatever depends on constants (and static shapes) alone into constants: weight expressions, shape arithmetic."""

from __future__ import annotations

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, const, node_of
from jetlane.tasks.converter.graph.rewrites import Applied


def fold_constants(graph: Graph, evaluator: Evaluator) -> Applied:
    """Replace nodes of known value, where a node of unknown value reads them, by a Const of the same name."""
    count = 0
    for node in list(graph):
        if evaluator.fact(node.name).value is not None:
            continue
        for index, ref in enumerate(node.inputs):
            value = evaluator.value(ref)
            if value is None or graph[ref].op == "Const":
                continue
            name = node_of(ref) if node_of(ref) == ref else graph.unused_name(ref.replace(":", "_"))
            if graph.nodes.get(name) is None or graph[name].op != "Const":
                graph.add(const(name, value))
                count += 1
            node.inputs[index] = name
    graph.changed()
    return Applied("constants", count, "constant expressions folded")
