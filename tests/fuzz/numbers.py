"""Numbers that files should not hold: none, negative, far too large, no numbers at all."""

from __future__ import annotations

NUMBERS = (
    0, -1, 1, 2, 3, 7, 33, 100, 4096, 65_536, 10**6, 10**9, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**31),
    -(2**63), 0.5, -0.5, 1e-30, 1e30, 1e300, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip


def whole(number: float, bits: int = 64) -> int:
    """As a signed integer of so many bits, the nearest there is."""
    if number != number:
        return 0
    top = 2 ** (bits - 1)
    return int(max(-top, min(top - 1, number)))


def single(number: float) -> float:
    """As a float32 field takes it."""
    return float(number) if abs(number) < 3e38 or number != number else float("inf") * (1 if number > 0 else -1)
