"""graphsurgeon's ``StaticGraph``: a GraphDef that can be searched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Union

from jetlane.specs.errors import GraphError
from jetlane.specs.support.local_files import atomic_file
from jetlane.tasks.converter.dropin.events import write_graph_event
from jetlane.tasks.converter.dropin.nodes import names_of
from jetlane.tasks.converter.dropin.originals import remember
from jetlane.tasks.converter.dropin.running import running
from jetlane.tasks.converter.graph.graph import node_of
from jetlane.tasks.converter.graph.protos import tensorflow_message

#: Unread nodes of these operations are leavings, no outputs.
_NEVER_OUTPUTS = ("Const", "Placeholder", "PlaceholderWithDefault", "NoOp", "Assert")


class StaticGraph:
    """A read-only view of a GraphDef.

    ``graph["name"]``, ``graph[3]``, ``len(graph)`` and ``for node in graph`` work on its nodes. Searches return lists
    of ``NodeDef``, in the graph's order; what is looked for may be one string or several, and regular expressions.

    Args:
        graphdef: A GraphDef (TensorFlow's own, or this package's), a graph of this package, something with an
            ``as_graph_def`` method, or the path of a frozen graph.
    """

    def __init__(self, graphdef: Any = None) -> None:
        # Scripts of the public reach for this message under NVIDIA's name for it, and change its nodes.
        self._internal_graphdef: Any = tensorflow_message("GraphDef")()
        if isinstance(graphdef, (str, os.PathLike)):
            self.read(graphdef)
        elif graphdef is not None:
            self._take(graphdef)

    def _take(self, graphdef: Any) -> None:
        message = graphdef.as_graph_def() if hasattr(graphdef, "as_graph_def") else graphdef
        if not hasattr(message, "SerializeToString"):
            raise GraphError(
                f"a {type(graphdef).__name__} is no TensorFlow graph",
                "a GraphDef, another graph or the path of a frozen graph is needed",
                "give `graph.as_graph_def()` or the path of the .pb file",
            )
        data = message.SerializeToString()
        self._internal_graphdef = tensorflow_message("GraphDef").FromString(data)
        remember(data, self._internal_graphdef)

    @property
    def _nodes(self) -> list[Any]:
        return list(self._internal_graphdef.node)

    def read(self, filename: Union[str, os.PathLike[str]]) -> None:
        """Take the frozen graph of a ``.pb`` file.

        Raises:
            GraphError: The file is missing or no frozen graph.
        """
        from jetlane.tasks.converter.graph.load import read_graph_def

        try:
            self._take(read_graph_def(filename))
        except GraphError as error:
            run = running()
            if run is not None:
                run.error = error
            raise

    def write(self, filename: Union[str, os.PathLike[str]]) -> None:
        """Write the graph as a ``.pb`` file, whole or not at all."""
        with atomic_file(Path(filename)) as file:
            file.write(self.as_graph_def().SerializeToString())

    def write_tensorboard(self, logdir: Union[str, os.PathLike[str]]) -> None:
        """Write the graph as an event file that TensorBoard shows, into a folder that is made where it is missing."""
        write_graph_event(Path(logdir), self.as_graph_def().SerializeToString())

    def as_graph_def(self) -> Any:
        """The graph as a new ``GraphDef``."""
        message = tensorflow_message("GraphDef")()
        message.CopyFrom(self._internal_graphdef)
        return message

    def __len__(self) -> int:
        return len(self._internal_graphdef.node)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._nodes)

    def __getitem__(self, key: Union[str, int]) -> Any:
        return self.node_map[key] if isinstance(key, str) else self._nodes[key]

    @property
    def node_map(self) -> dict[str, Any]:
        """Nodes by name. It follows the nodes by itself; what a script assigns to it is dropped."""
        return {node.name: node for node in self._nodes}

    @node_map.setter
    def node_map(self, value: Any) -> None:
        pass

    @property
    def node_outputs(self) -> dict[str, list[Any]]:
        """For each node's name, the nodes that read it."""
        outputs: dict[str, list[Any]] = {node.name: [] for node in self._nodes}
        for node in self._nodes:
            for name in dict.fromkeys(map(node_of, node.input)):
                outputs.setdefault(name, []).append(node)
        return outputs

    @property
    def graph_inputs(self) -> list[Any]:
        """What are likely the graph's inputs: its placeholders."""
        return [node for node in self._nodes if node.op == "Placeholder"]

    @property
    def graph_outputs(self) -> list[Any]:
        """What are likely the graph's outputs: nodes that compute something no other node reads."""
        read = {node_of(name) for node in self._nodes for name in node.input}
        return [node for node in self._nodes if node.name not in read and node.op not in _NEVER_OUTPUTS]

    def find_nodes_by_op(self, op: Union[str, Iterable[str]]) -> list[Any]:
        """Nodes of an operation, or of several."""
        return _matching(self._nodes, op, lambda node: (node.op,))

    def find_nodes_by_name(self, name: Union[str, Iterable[str]]) -> list[Any]:
        """Nodes by their name, or by its last part: ``concat`` also finds ``head/concat``, after ``concat`` itself."""
        found = _matching(self._nodes, name, _name_and_last_part)
        exact = set(names_of(name))
        return sorted(found, key=lambda node: node.name not in exact)

    def find_nodes_by_path(self, path: Union[str, Iterable[str]]) -> list[Any]:
        """Nodes by their whole name, scopes included."""
        return _matching(self._nodes, path, lambda node: (node.name,))

    def find_node_inputs(self, node: Any) -> list[Any]:
        """The nodes that a node reads, in its order."""
        nodes = self.node_map
        return [nodes[name] for name in map(node_of, node.input) if name in nodes]

    def find_node_inputs_by_op(self, node: Any, op: Union[str, Iterable[str]]) -> list[Any]:
        """Those inputs of a node that are of an operation, or of several."""
        return _matching(self.find_node_inputs(node), op, lambda found: (found.op,))

    def find_node_inputs_by_name(self, node: Any, name: Union[str, Iterable[str]]) -> list[Any]:
        """Those inputs of a node that have a name, or one whose last part it is."""
        return _matching(self.find_node_inputs(node), name, _name_and_last_part)

    def find_node_chains_by_op(self, chain: Iterable[str]) -> list[list[Any]]:
        """Chains of nodes of the given operations, each reading the one before: ``["MatMul", "Add", "Relu"]``."""
        ops = list(chain)
        outputs = self.node_outputs
        chains = [[node] for node in self._nodes if ops and node.op == ops[0]]
        for op in ops[1:]:
            chains = [[*found, node] for found in chains for node in outputs[found[-1].name] if node.op == op]
        return chains


def _name_and_last_part(node: Any) -> tuple[str, str]:
    return node.name, node.name.rpartition("/")[2]


def _matching(nodes: Iterable[Any], wanted: Union[str, Iterable[str]], texts: Any) -> list[Any]:
    """Nodes of which one text is among the wanted ones, or is what one of these, as a regular expression, describes."""
    exact = set(names_of(wanted))
    patterns = [pattern for pattern in map(_compiled, exact) if pattern is not None]
    return [
        node
        for node in nodes
        if any(text in exact or any(pattern.fullmatch(text) for pattern in patterns) for text in texts(node))
    ]


def _compiled(text: str) -> Any:
    """A regular expression, where the text is more than a plain name."""
    if re.fullmatch(r"[\w/.\-]*", text):
        return None
    try:
        return re.compile(text)
    except re.error:
        return None
