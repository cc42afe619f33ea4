"""Values on their way from UFF to ONNX.

UFF keeps TensorFlow's NHWC order; the convolutions of ONNX want NCHW. A value knows its shape in TensorFlow's order and
in which order it lies in memory, and is transposed only when an operation needs it the other way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.builder import Array, Builder

Shape = tuple[int, ...]

#: Position of each NHWC axis in NCHW.
FIRST_AXIS = (0, 2, 3, 1)


@dataclass(frozen=True)
class Convolution:
    """A convolution that is not written yet, so that what follows it may still be folded into its weights.

    Attributes:
        weights: float64 [out, in / groups, kh, kw]; bias: float64 [out].
        attributes: Attributes of the ONNX node.
    """

    source: str
    weights: Array
    bias: Array
    attributes: dict[str, Any]

    def scaled(self, scale: Array, offset: Array) -> Convolution:
        """This convolution, times ``scale`` plus ``offset``: float64, one per output channel."""
        return replace(self, weights=self.weights * scale.reshape(-1, 1, 1, 1), bias=self.bias * scale + offset)


class Tensor:
    """A value of static shape: a constant, or something an ONNX node makes.

    Attributes:
        shape: In TensorFlow's order.
        array: The value of a constant, in TensorFlow's order.
        convolution: Set while it is an unwritten convolution.
    """

    def __init__(
        self,
        shape: Shape,
        *,
        array: Optional[Array] = None,
        first: Optional[str] = None,
        last: Optional[str] = None,
        last_shape: Optional[Shape] = None,
        convolution: Optional[Convolution] = None,
    ) -> None:
        self.shape = tuple(int(size) for size in shape)
        self.array = array
        self.convolution = convolution
        self._first = first
        self._last = last
        self._last_shape = last_shape or self.shape

    @classmethod
    def constant(cls, array: Any) -> Tensor:
        return cls(np.shape(array), array=np.asarray(array))

    @property
    def is_channels_first(self) -> bool:
        """Whether it lies in memory as NCHW."""
        return self._first is not None or self.convolution is not None

    def first(self, builder: Builder) -> str:
        """Its name as NCHW; rank 4 only."""
        if self._first is None:
            if self.convolution is not None:
                self._first = _write(builder, self.convolution)
                self.convolution = None
            elif self.array is not None:
                self._first = builder.constant(self.array.transpose(0, 3, 1, 2))
            else:
                self._first = builder.op("Transpose", self.last(builder), perm=[0, 3, 1, 2], name="nchw")
        return self._first

    def last(self, builder: Builder) -> str:
        """Its name in TensorFlow's order and shape."""
        if self._last is None:
            if self.array is not None:
                self._last = builder.constant(self.array)
            else:
                self._last = builder.op("Transpose", self.first(builder), perm=[0, 2, 3, 1], name="nhwc")
        if self._last_shape != self.shape:
            self._last = builder.op("Reshape", self._last, builder.ints(*self.shape))
            self._last_shape = self.shape
        return self._last

    def reshaped(self, builder: Builder, shape: Shape) -> Tensor:
        """The same elements in another shape; nothing is written before an operation reads it."""
        if prod(shape) != prod(self.shape):
            raise ConversionError(
                f"{list(self.shape)} cannot be reshaped to {list(shape)}",
                "the graph's shapes do not fit its input size",
            )
        if self.array is not None:
            return Tensor.constant(self.array.reshape(shape))
        if self._last is None:
            self.last(builder)
        return Tensor(shape, last=self._last, last_shape=self._last_shape)


def _write(builder: Builder, convolution: Convolution) -> str:
    weights = builder.constant(convolution.weights.astype(np.float32), "weights")
    bias = builder.constant(convolution.bias.astype(np.float32), "bias")
    return builder.op("Conv", convolution.source, weights, bias, **convolution.attributes)
