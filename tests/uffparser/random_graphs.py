"""TensorFlow graphs of random operations on feature maps: those of detectors, and those that parsers misread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tests.tasks.converter.graph.sketches import Sketch
from tests.uffparser.canvas import NHWC, Canvas, Shape, out

#: Adds operations to a map and returns the result: (name, shape).
Block = Callable[["Drawing", str, Shape], tuple[str, Shape]]


class Drawing(Canvas):
    """One graph while it is drawn; several share a Sketch, whose input they all read.

    Attributes:
        maps: Feature maps so far: (name, shape). Each may be read again by a later block.
    """

    def __init__(self, sketch: Sketch, prefix: str, seed: int, size: tuple[int, int]) -> None:
        super().__init__(sketch, prefix)
        self.dice = np.random.default_rng(seed)
        channels = int(self.dice.choice([size[0], 3, 5]))
        first = self.conv("Input", (1, *size, 3), channels, 1, 1, "SAME")
        self.maps = [first]
        for _ in range(self.dice.integers(2, 6)):
            self.grow()

    def numbers(self, *shape: int) -> np.ndarray:
        return self.dice.normal(0, 0.5, shape).astype(np.float32)

    def grow(self) -> None:
        x, shape = self.maps[self.dice.integers(len(self.maps))]
        block = BLOCKS[self.dice.integers(len(BLOCKS))]
        self.maps.append(block(self, x, shape))

    def outputs(self) -> list[str]:
        """The last map, and a random one, each reshaped to [batch, numbers, 1, 1] as a head is."""
        chosen = {self.maps[-1], self.maps[self.dice.integers(len(self.maps))]}
        return [self.flat(name, shape) for name, shape in sorted(chosen)]


def _convolved(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    size, stride = (int(d.dice.integers(1, 4)), int(d.dice.integers(1, 3)))
    padding = "SAME" if min(shape[1:3]) < size else str(d.dice.choice(["SAME", "VALID"]))
    return d.conv(x, shape, int(d.dice.choice([shape[1], 4, 3])), size, stride, padding)


def _depthwise(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    stride = int(d.dice.integers(1, 3))
    kernel = d.const(d.numbers(3, 3, shape[3], 1))
    name = d.add("DepthwiseConv2dNative", x, kernel, strides=[1, stride, stride, 1], padding="SAME", **NHWC)
    return name, (1, *(out(n, 3, stride, "SAME") for n in shape[1:3]), shape[3])


def _activated(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    return d.add(str(d.dice.choice(["Relu", "Relu6", "Sigmoid", "Tanh"])), x), shape


def _with_constant(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    op = str(d.dice.choice(["Add", "Sub", "Mul", "Minimum", "Maximum"]))
    constant = d.const(d.numbers(*((shape[3],) if d.dice.random() < 0.5 else ())))
    return d.add(op, *((x, constant) if d.dice.random() < 0.5 else (constant, x))), shape


def _of_two(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    others = [name for name, other in d.maps if other == shape]
    return d.add(str(d.dice.choice(["Add", "Sub", "Mul"])), x, str(d.dice.choice(others))), shape


def _joined(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    other = d.add("Relu", x)
    axis = int(d.dice.choice([3, -1, 1]))
    grown = list(shape)
    grown[axis] *= 2
    return d.add("ConcatV2", x, other, d.const(np.array(axis, np.int32))), (1, *grown[1:])  # type: ignore[return-value]


def _pooled(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    size, stride = int(d.dice.integers(1, 4)), int(d.dice.integers(1, 3))
    padding = "SAME" if min(shape[1:3]) < size else str(d.dice.choice(["SAME", "VALID"]))
    window = {"ksize": [1, size, size, 1], "strides": [1, stride, stride, 1], "padding": padding, **NHWC}
    name = d.add(str(d.dice.choice(["MaxPool", "AvgPool"])), x, **window)
    return name, (1, *(out(n, size, stride, padding) for n in shape[1:3]), shape[3])


def _padded(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    """A Pad, even or uneven, and a pooling or a convolution without padding behind it."""
    amounts = d.dice.integers(0, 3, (2, 2))
    if d.dice.random() < 0.5:
        amounts[:, 1] = amounts[:, 0]
    padded = d.add("Pad", x, d.const(np.array([[0, 0], *amounts.tolist(), [0, 0]], np.int32)))
    wide: Shape = (1, *(n + int(a.sum()) for n, a in zip(shape[1:3], amounts)), shape[3])  # type: ignore[assignment]
    if min(wide[1:3]) < 2:
        return padded, wide
    if d.dice.random() < 0.3:
        return d.conv(padded, wide, 4, 2, 1, "VALID")
    window = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID", **NHWC}
    name = d.add(str(d.dice.choice(["MaxPool", "AvgPool"])), padded, **window)
    return name, (1, *(out(n, 2, 2, "VALID") for n in wide[1:3]), shape[3])


def _excited(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    mean = d.add("Mean", x, d.const(np.array([1, 2], np.int32)), keep_dims=True)
    squeezed, _ = d.conv(mean, (1, 1, 1, shape[3]), 2, 1, 1, "SAME")
    excited, _ = d.conv(d.add("Relu", squeezed), (1, 1, 1, 2), shape[3], 1, 1, "SAME")
    factors = d.add("Sigmoid", excited)
    return d.add("Mul", *((x, factors) if d.dice.random() < 0.5 else (factors, x))), shape


def _reduced(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    """The largest of a map's channels, or of its pixels, beside the map itself."""
    axes = [3] if d.dice.random() < 0.5 else [1, 2]
    most = d.add("Max", x, d.const(np.array(axes, np.int32)), keep_dims=True)
    return d.add("Sub", x, most), shape


def _softmaxed(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    return d.add("Softmax", x), shape


def _sliced(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    begin, end, steps = [0] * 4, list(shape), [1] * 4
    axis = int(d.dice.integers(1, 4))
    if shape[axis] < 2:
        return x, shape
    begin[axis] = int(d.dice.integers(0, shape[axis] - 1))
    end[axis] = int(d.dice.integers(begin[axis] + 1, shape[axis] + 1))
    steps[axis] = int(d.dice.integers(1, 3))
    left = list(shape)
    left[axis] = len(range(begin[axis], end[axis], steps[axis]))
    return d.add("StridedSlice", x, *(d.const(np.array(n, np.int32)) for n in (begin, end, steps))), tuple(left)  # type: ignore[return-value]


def _turned(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    there = d.add("Transpose", x, d.const(np.array([0, 3, 1, 2], np.int32)))
    back = d.add("Transpose", there, d.const(np.array([0, 2, 3, 1], np.int32)))
    return d.add("Add", back, x), shape


def _grown(d: Drawing, x: str, shape: Shape) -> tuple[str, Shape]:
    _, height, width, channels = shape
    taps = np.broadcast_to(np.eye(channels, dtype=np.float32), (2, 2, channels, channels))
    kernel = d.const(np.ascontiguousarray(taps))
    size = d.const(np.array([1, 2 * height, 2 * width, channels], np.int32))
    name = d.add("Conv2DBackpropInput", size, kernel, x, strides=[1, 2, 2, 1], padding="VALID", **NHWC)
    return name, (1, 2 * height, 2 * width, channels)


BLOCKS: tuple[Block, ...] = (
    *(_convolved, _depthwise, _activated, _with_constant, _of_two, _joined, _pooled, _padded),
    *(_excited, _reduced, _softmaxed, _sliced, _turned, _grown),
)
