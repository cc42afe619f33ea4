"""Where a network's arithmetic is: up to its last convolutions.

What follows, the decoding of boxes and the scores, costs nothing, and is left as exact as it is.
"""

from __future__ import annotations

from typing import Any

HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def feeding(nodes: Any) -> list[bool]:
    """Which of a graph's nodes, in the order in which they run, feed a convolution: the last convolutions do not."""
    needed: set[str] = set()
    found: list[bool] = []
    for node in reversed(nodes):
        found.append(any(name in needed for name in node.output))
        if found[-1] or node.op_type in HEAVY:
            needed.update(node.input)
    return found[::-1]
