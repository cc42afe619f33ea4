"""TensorFlow's ``Graph`` as scripts use it to hold a frozen graph before surgery: filled, handed on, never run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from jetlane.tasks.converter.graph.protos import tensorflow_message


class Graph:
    """A graph that holds the GraphDef that was imported into it."""

    def __init__(self) -> None:
        self._definition = tensorflow_message("GraphDef")()

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make it the graph that ``import_graph_def`` fills."""
        _stack.append(self)
        try:
            yield self
        finally:
            _stack.remove(self)

    def as_graph_def(self, *args: Any, **kwargs: Any) -> Any:
        """The GraphDef that was imported."""
        return self._definition

    def take(self, graph_def: Any, prefix: str) -> None:
        """Take the nodes of a GraphDef, below a prefix."""
        made = tensorflow_message("GraphDef").FromString(graph_def.SerializeToString())
        for node in made.node if prefix else ():
            node.name = f"{prefix}/{node.name}"
            node.input[:] = [f"^{prefix}/{ref[1:]}" if ref.startswith("^") else f"{prefix}/{ref}" for ref in node.input]
        self._definition.MergeFrom(made)


_stack: list[Graph] = []


def get_default_graph() -> Graph:
    """The innermost ``as_default``, or a new graph."""
    if not _stack:
        _stack.append(Graph())
    return _stack[-1]


def reset_default_graph() -> None:
    """Forget the graphs that were made."""
    _stack.clear()


def import_graph_def(graph_def: Any, input_map: Any = None, return_elements: Any = None, name: Any = None) -> None:
    """Fill the default graph; without a name, below ``import/`` as TensorFlow does."""
    get_default_graph().take(graph_def, "import" if name is None else name.rstrip("/"))


def opened(name: Any, mode: str = "r") -> Any:
    """``tf.gfile.GFile``: a file."""
    return open(name, mode)


gfile = SimpleNamespace(
    GFile=opened, FastGFile=opened, Open=opened, Exists=os.path.exists, exists=os.path.exists, MakeDirs=os.makedirs
)
