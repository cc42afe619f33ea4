"""Draws TensorFlow graphs node by node."""

from __future__ import annotations

import numpy as np
from tests.tasks.converter.graph.sketches import Sketch

Shape = tuple[int, int, int, int]

NHWC = {"data_format": "NHWC"}


class Canvas:
    """A part of a Sketch, whose names begin with a prefix."""

    def __init__(self, sketch: Sketch, prefix: str) -> None:
        self.sketch, self.prefix = sketch, prefix
        self._count = 0

    def name(self, word: str) -> str:
        self._count += 1
        return f"{self.prefix}/{word}{self._count}"

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        return self.sketch.add(self.name(op), op, *inputs, **attributes)

    def const(self, value: object) -> str:
        return self.sketch.const(self.name("const"), np.asarray(value))

    def numbers(self, *shape: int) -> np.ndarray:
        """Weights, float32."""
        raise NotImplementedError

    def conv(self, x: str, shape: Shape, channels: int, size: int, stride: int, padding: str) -> tuple[str, Shape]:
        kernel = self.const(self.numbers(size, size, shape[3], channels))
        name = self.add("Conv2D", x, kernel, strides=[1, stride, stride, 1], padding=padding, **NHWC)
        biased = self.add("BiasAdd", name, self.const(self.numbers(channels)), **NHWC)
        return biased, (1, *(out(n, size, stride, padding) for n in shape[1:3]), channels)

    def flat(self, x: str, shape: Shape) -> str:
        """Reshaped to [batch, numbers, 1, 1], as a head is."""
        return self.reshape(x, int(np.prod(shape)), 1, 1)

    def reshape(self, x: str, *sizes: int) -> str:
        """To [batch, *sizes], with the batch size read from the tensor."""
        size = self.add("Shape", x)
        batch = self.add("StridedSlice", size, *(self.const(np.array([n], np.int32)) for n in (0, 1, 1)),
                         shrink_axis_mask=1)  # fmt: skip
        numbers = [self.const(np.array(n, np.int32)) for n in sizes]
        return self.add("Reshape", x, self.add("Pack", batch, *numbers, axis=0))


def out(size: int, kernel: int, stride: int, padding: str) -> int:
    """The size of what a window leaves of an axis."""
    return -(-size // stride) if padding == "SAME" else (size - kernel) // stride + 1
