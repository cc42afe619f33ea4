"""Damage to nodes, their inputs and attributes, which frozen graphs and UFF graphs have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def damage_nodes(kind: str, nodes: Any, inputs: Any, a: int, b: int, other: str, output: str = "") -> bool:
    """Do one step to repeated fields; gives whether it was one of these kinds and could be done.

    Args:
        inputs: Those of node ``a``.
        other: Name of another node, read anew or in place of an input.
        output: Put behind that name where it takes the place of an input.
    """
    if kind == "rewire" and inputs:
        inputs[b % len(inputs)] = other + output
    elif kind == "cut" and inputs:
        del inputs[b % len(inputs)]
    elif kind == "extra":
        inputs.insert(b % (len(inputs) + 1), other)
    elif kind == "gone":
        del nodes[a % len(nodes)]
    elif kind == "double":
        nodes.add().CopyFrom(nodes[a % len(nodes)])
    else:
        return False
    return True


def damage_entries(kind: str, mine: Any, others: Any, a: int, b: int, change: Callable[[Any], None]) -> None:
    """Change an entry of a map, drop it (``gone``), or take over another node's (``of``)."""
    key = sorted(mine)[b % len(mine)]
    if kind == "gone":
        del mine[key]
    elif kind != "of":
        change(mine[key])
    elif others:
        mine[key].CopyFrom(others[sorted(others)[a % len(others)]])
