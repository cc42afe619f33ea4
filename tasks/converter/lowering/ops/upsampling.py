"""ConvTranspose. One that only repeats pixels, as feature pyramids do, becomes a Resize, which costs almost nothing."""

from __future__ import annotations

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.builder import Array
from jetlane.tasks.converter.lowering.context import Context, Rule, constant_of
from jetlane.tasks.converter.lowering.tensor import Tensor
from jetlane.tasks.converter.uff.model import UffNode


def _transposed(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data, kernel = inputs[0], constant_of(node, inputs[1], "kernel")  # [h, w, out, in]
    if tuple(node.fields["inputs_orders"]) != ("N+C", "+KC") or "implicit_padding" in node.fields:
        raise ConversionError(
            f"ConvTranspose {node.id!r} has a layout or padding that is not lowered", "NHWC, VALID is"
        )
    strides = [int(step) for step in node.fields["strides"]]
    size = tuple((data.shape[1 + axis] - 1) * strides[axis] + kernel.shape[axis] for axis in (0, 1))
    if len(inputs) > 2 and tuple(constant_of(node, inputs[2], "size").ravel()[1:3]) != size:
        raise ConversionError(f"ConvTranspose {node.id!r} asks for another size than {size}", "it has no lowering")
    builder, shape = context.builder, (1, *size, kernel.shape[2])
    if _repeats(kernel, strides):
        scales = builder.constant(np.array([1, 1, *strides], np.float32))
        modes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return Tensor(shape, first=builder.op("Resize", data.first(builder), "", scales, **modes))
    weights = builder.constant(kernel.transpose(3, 2, 0, 1).astype(np.float32), "weights")
    name = builder.op(
        "ConvTranspose", data.first(builder), weights, kernel_shape=list(kernel.shape[:2]), strides=strides
    )
    return Tensor(shape, first=name)


def _repeats(kernel: Array, strides: list[int]) -> bool:
    """The identity at every tap, and taps that do not overlap."""
    height, width, outputs, channels = kernel.shape
    return outputs == channels and [height, width] == strides and bool(np.all(kernel == np.eye(channels)))


RULES: dict[str, Rule] = {"ConvTranspose": _transposed}
