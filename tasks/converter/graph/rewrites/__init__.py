"""Rewrites of a graph, one per file. Each changes the graph it is given and says what it did, and to how many nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Applied:
    """One rewrite's account of itself.

    Attributes:
        name: The rewrite.
        count: Nodes (or edges, where the note says so) it changed; 0 when it found nothing to do.
        note: What was done, in a few words.
        warning: True when the result may differ from what TensorFlow computed.
    """

    name: str
    count: int
    note: str
    warning: bool = False
