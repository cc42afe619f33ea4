"""Resolve conditions that are constants: what remains of ``tf.cond(is_training, ...)`` in a frozen graph.

A learning phase is a PlaceholderWithDefault; at inference its default holds. Then each Switch has one live output, and
each Merge one live input. Loops use the same operations, with a condition that is no constant: they are left alone.
"""

from __future__ import annotations

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of, port_of
from jetlane.tasks.converter.graph.rewrites import Applied


def resolve_conditionals(graph: Graph) -> Applied:
    defaults = graph.of("PlaceholderWithDefault")
    graph.redirect({name: node.inputs[0] for node in defaults for name in (node.name, f"{node.name}:0")})

    evaluator = Evaluator(graph)
    taken: dict[str, int] = {}
    for node in graph.of("Switch"):
        condition = evaluator.value(node.inputs[1]) if len(node.inputs) == 2 else None
        if condition is not None and condition.size == 1:
            taken[node.name] = int(bool(condition))
    if not taken:
        return Applied("conditionals", len(defaults), "placeholders replaced by their defaults")

    dead = _dead_nodes(graph, taken)
    replacements: dict[str, str] = {}
    for name, port in taken.items():
        data = graph[name].inputs[0]
        replacements[f"{name}:1" if port else name] = data
        if not port:
            replacements[f"{name}:0"] = data
    merges = 0
    for node in graph.of("Merge"):
        live = [ref for ref in node.inputs if not _is_dead(ref, taken, dead)]
        if len(live) == 1 and len(node.inputs) > 1:
            replacements[node.name] = replacements[f"{node.name}:0"] = live[0]
            merges += 1
    graph.redirect(replacements)
    note = f"{len(defaults)} defaults taken, {len(taken)} Switch and {merges} Merge nodes resolved"
    return Applied("conditionals", len(defaults) + len(taken) + merges, note)


def _is_dead(ref: str, taken: dict[str, int], dead: set[str]) -> bool:
    name = node_of(ref)
    return name in dead or (name in taken and port_of(ref) != taken[name])


def _dead_nodes(graph: Graph, taken: dict[str, int]) -> set[str]:
    """Nodes of branches that are never taken; a Merge is dead only when all its inputs are."""
    dead: set[str] = set()
    todo: list[Node] = [reader for name in taken for reader in graph.consumers(name)]
    while todo:
        node = todo.pop()
        if node.name in dead:
            continue
        flags = [_is_dead(ref, taken, dead) for ref in node.inputs]
        if flags and (all(flags) if node.op == "Merge" else any(flags)):
            dead.add(node.name)
            todo.extend(graph.consumers(node.name))
    return dead
