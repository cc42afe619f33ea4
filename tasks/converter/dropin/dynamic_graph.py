"""graphsurgeon's ``DynamicGraph``: a GraphDef that can be changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.dropin.collapse import collapse
from jetlane.tasks.converter.dropin.nodes import copy_node, names_of
from jetlane.tasks.converter.dropin.static_graph import StaticGraph
from jetlane.tasks.converter.graph.graph import node_of


class DynamicGraph(StaticGraph):
    """A graph that can be changed: by its methods, and by editing the ``NodeDef`` messages it holds."""

    def append(self, node: Any) -> None:
        """Add a node; the graph holds a copy."""
        self.extend([node])

    def extend(self, node_list: Iterable[Any]) -> None:
        """Add nodes; the graph holds copies.

        Raises:
            GraphError: Something that is no node.
        """
        for node in node_list:
            if not hasattr(node, "SerializeToString"):
                raise GraphError(
                    f"a {type(node).__name__} is no node",
                    "append and extend take NodeDef messages, not names",
                    "make one with create_node or create_plugin_node",
                )
            self._internal_graphdef.node.append(copy_node(node))

    def remove(self, nodes: Any, remove_exclusive_dependencies: bool = False) -> None:
        """Remove nodes, and every reference to them.

        Args:
            nodes: Nodes or names, one or several; names the graph has not are passed over.
            remove_exclusive_dependencies: Remove as well what only they read, directly or through each other.
        """
        doomed = set(names_of(nodes))
        if remove_exclusive_dependencies:
            doomed |= self._exclusive_dependencies(doomed)
        self._drop(doomed)
        for node in self._nodes:
            kept = [name for name in node.input if node_of(name) not in doomed]
            if len(kept) != len(node.input):
                node.input[:] = kept

    def _exclusive_dependencies(self, doomed: set[str]) -> set[str]:
        nodes, outputs = self.node_map, self.node_outputs
        exclusive: set[str] = set()
        todo = [node_of(ref) for name in doomed if name in nodes for ref in nodes[name].input]
        while todo:
            name = todo.pop()
            if name not in nodes or name in doomed or name in exclusive:
                continue
            if all(reader.name in doomed or reader.name in exclusive for reader in outputs[name]):
                exclusive.add(name)
                todo.extend(node_of(ref) for ref in nodes[name].input)
        return exclusive

    def forward_inputs(self, nodes: Any) -> None:
        """Remove nodes, and give their inputs to those that read them, in the same place.

        Control inputs of a removed node end with it: they order side effects, of which a frozen network has none.
        """
        known = self.node_map
        inputs = {
            name: [ref for ref in known[name].input if not ref.startswith("^")]
            for name in names_of(nodes)
            if name in known
        }
        self._drop(set(inputs))
        for node in self._nodes:
            if any(node_of(ref) in inputs for ref in node.input):
                node.input[:] = [name for ref in node.input for name in _forwarded(ref, inputs)]

    def collapse_namespaces(
        self, namespace_map: Mapping[str, Any], exclude_nodes: Iterable[Any] = (), unique_inputs: bool = True
    ) -> None:
        """Put one node in the place of all nodes of a namespace.

        Args:
            namespace_map: Namespace -> the node that takes its place. Several namespaces may go to one node; of nested
                namespaces the innermost counts; namespaces the graph has not are passed over.
            exclude_nodes: Nodes (or names) that stay as they are.
            unique_inputs: Name each input of a collapsed node once only.
        """
        gone, made = collapse(self._nodes, namespace_map, set(names_of(exclude_nodes)), unique_inputs)
        self._drop(gone)
        self._internal_graphdef.node.extend(made)

    def _drop(self, names: set[str]) -> None:
        """Delete nodes from the message itself, so that what a script holds of the others stays part of the graph."""
        nodes = self._internal_graphdef.node
        for index in reversed([index for index, node in enumerate(nodes) if node.name in names]):
            del nodes[index]


def _forwarded(ref: str, inputs: Mapping[str, list[str]]) -> list[str]:
    """What a reference becomes; nodes that feed each other in a circle lead nowhere."""
    control = "^" if ref.startswith("^") else ""
    result, todo, seen = [], [ref], set()
    while todo:
        current = todo.pop(0)
        name = node_of(current)
        if name not in inputs:
            result.append(control + (name if control else current))
        elif name not in seen:
            seen.add(name)
            todo[:0] = inputs[name]
    return result
