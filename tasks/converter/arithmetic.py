"""Facts of layers that the graph's rewrites, the drop-in and the lowering share."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

Array = np.ndarray[Any, Any]


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Padding before and after one axis, in pixels, that TensorFlow's SAME gives: an odd number has more after.

    Args:
        size: Length of the input along the axis, pixels.
    """
    total = max(0, (-(-size // stride) - 1) * stride + (kernel - 1) * dilation + 1 - size)
    return total // 2, total - total // 2


def shortest(value: float) -> float:
    """A float32 as a person wrote it: 0.6, not 0.6000000238418579."""
    return float(str(np.float32(value)))


def affine(function: str, constant: Any, channels: int, *, constant_first: bool) -> Optional[tuple[Array, Array]]:
    """An operation with a constant as ``x * scale + offset``.

    Args:
        function: ``add``, ``sub``, ``mul`` or ``div``; as UFF's Binary names them.
        constant: Array of floats of any shape.
        channels: Length of the last axis of ``x``.

    Returns:
        (scale, offset), float64 [channels] each; None where the constant has more than one number per channel, or the
        operation is no such function (a division of or by zero too).
    """
    value = np.asarray(constant)
    if value.dtype.kind != "f" or value.size not in (1, channels) or (value.size > 1 and value.shape[-1] != channels):
        return None
    number = np.broadcast_to(np.ravel(value).astype(np.float64), (channels,))
    one, zero = np.ones(channels), np.zeros(channels)
    if function == "add":
        return one, number
    if function == "mul":
        return number, zero
    if function == "sub":
        return (-one, number) if constant_first else (one, -number)
    if function == "div" and not constant_first and np.all(number != 0):
        return 1 / number, zero
    return None
