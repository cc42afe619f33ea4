"""Collapse the nodes of namespaces to single nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

from jetlane.tasks.converter.dropin.nodes import copy_node
from jetlane.tasks.converter.graph.graph import node_of


def collapse(
    nodes: Iterable[Any], namespace_map: Mapping[str, Any], excluded: set[str], unique_inputs: bool
) -> tuple[set[str], list[Any]]:
    """Names of the nodes that are collapsed, and the new nodes, in the map's order; the others' inputs are renamed.

    A new node reads what its namespaces read from outside of them, in the order of their nodes, after any inputs it was
    made with. Control inputs of collapsed nodes end with them.
    """
    spaces = {space.rstrip("/"): node for space, node in namespace_map.items()}
    nodes = list(nodes)
    owner = {
        node.name: target
        for node in nodes
        if node.name not in excluded and (target := _innermost(node.name, spaces)) is not None
    }
    used = {id(target) for target in owner.values()}
    made = {target.name: copy_node(target) for target in spaces.values() if id(target) in used}
    for node in nodes:
        if node.name in owner:
            _add_inputs(made[owner[node.name].name], node.input, owner, unique_inputs)
    for node in nodes:
        if node.name not in owner and any(node_of(ref) in owner for ref in node.input):
            node.input[:] = [_renamed(ref, owner) for ref in node.input]
    return set(owner), list(made.values())


def _innermost(name: str, spaces: Mapping[str, Any]) -> Optional[Any]:
    while name:
        if name in spaces:
            return spaces[name]
        name = name.rpartition("/")[0]
    return None


def _add_inputs(made: Any, refs: Iterable[str], owner: Mapping[str, Any], unique_inputs: bool) -> None:
    for ref in refs:
        if ref.startswith("^"):
            continue
        source = owner.get(node_of(ref))
        if source is not None and source.name == made.name:
            # Scripts take `image_tensor:0` out of their Input without looking, since a reference with its port was left
            # there by the tool they were written for. A placeholder reads nothing, so it does no harm.
            if not (made.op == "Placeholder" and ref == f"{node_of(ref)}:0" and "/" not in ref):
                continue
            name = ref
        else:
            name = ref if source is None else source.name
        if not unique_inputs or name not in made.input:
            made.input.append(name)


def _renamed(ref: str, owner: Mapping[str, Any]) -> str:
    target = owner.get(node_of(ref))
    if target is None:
        return ref
    return f"^{target.name}" if ref.startswith("^") else str(target.name)
