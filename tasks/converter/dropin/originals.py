"""Which graph a script started from: what its plugins' numbers are held against.

A script that calls ``uff.from_tensorflow`` itself hands over what its surgery left, as a plain message. So the last
graphs that were read whole are remembered, and the one whose constants the surgery left is taken.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Optional

from jetlane.tasks.converter.graph.protos import tensorflow_message

#: A script works on one graph, some on a few after each other; a graph takes tens of megabytes.
_REMEMBERED = 3

_graphs: deque[bytes] = deque(maxlen=_REMEMBERED)


def is_plugin(node: Any) -> bool:
    """Whether a script made this node for a plugin of TensorRT's."""
    return "_TRT" in node.op or any("_u_" in key for key in node.attr)


def remember(data: bytes, message: Any) -> None:
    """Keep a graph that no surgery was done on yet, serialised."""
    if len(message.node) and data not in _graphs and not any(map(is_plugin, message.node)):
        _graphs.append(data)


def forget() -> None:
    """Let go of all graphs."""
    _graphs.clear()


def original_of(message: Any) -> Optional[Any]:
    """The GraphDef that another was made from, or None where none of those remembered has its constants."""
    left = _constants(message)
    best, found = (0, 0), None
    for data in _graphs:
        candidate = tensorflow_message("GraphDef").FromString(data)
        shared = sum(left.get(name) == value for name, value in _constants(candidate).items())
        # Copies made on the way have the same constants: the one with the most nodes is the first of them.
        score = (shared, len(candidate.node))
        if shared * 2 > len(left) and score > best:
            best, found = score, candidate
    return found


def _constants(message: Any) -> dict[str, bytes]:
    return {node.name: node.attr["value"].SerializeToString() for node in message.node if node.op == "Const"}
