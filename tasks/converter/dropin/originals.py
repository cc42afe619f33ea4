"""Which graph a script started from: what its plugins' numbers are held against.

A script that calls ``uff.from_tensorflow`` itself hands over what its surgery left, as a plain message. So the last
graphs that were read whole are remembered, and the one whose constants the surgery left is taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any, Optional

from jetlane.tasks.converter.graph.protos import tensorflow_message

#: A script works on one graph, some on a few after each other; a graph takes tens of megabytes.
_REMEMBERED = 3


@dataclass(frozen=True)
class _Known:
    """A graph that was read whole: its message's bytes, how many nodes it has, and a digest of each constant."""

    data: bytes
    nodes: int
    constants: dict[str, int]


_graphs: deque[_Known] = deque(maxlen=_REMEMBERED)


def is_plugin(node: Any) -> bool:
    """Whether a script made this node for a plugin of TensorRT's."""
    return "_TRT" in node.op or any("_u_" in key for key in node.attr)


def remember(data: bytes, message: Any) -> None:
    """Keep a graph that no surgery was done on yet.

    Args:
        data: The message, serialised.
    """
    if not len(message.node) or any(map(is_plugin, message.node)):
        return
    made = _Known(data, len(message.node), _constants(message))
    # Copies on the way of a surgery hold nothing that the graph they were made from does not: that one is kept.
    whole = next((known for known in _graphs if made.constants and _holds(known, made)), None)
    if whole is not None:
        _graphs.remove(whole)
    _graphs.append(whole or made)


def forget() -> None:
    """Let go of all graphs."""
    _graphs.clear()


def original_of(message: Any) -> Optional[Any]:
    """The GraphDef that another was made from, or None where none of those remembered has its constants."""
    left = _constants(message)
    best, found = (0, 0), None
    for known in _graphs:
        shared = sum(known.constants.get(name) == digest for name, digest in left.items())
        score = (shared, known.nodes)
        if shared * 2 > len(left) and score > best:
            best, found = score, known
    return tensorflow_message("GraphDef").FromString(found.data) if found is not None else None


def _holds(whole: _Known, part: _Known) -> bool:
    return part.nodes <= whole.nodes and part.constants.items() <= whole.constants.items()


def _constants(message: Any) -> dict[str, int]:
    return {node.name: hash(node.attr["value"].SerializeToString()) for node in message.node if node.op == "Const"}
