"""Conv: ordinary, grouped (depthwise), dilated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.arithmetic import same_padding
from jetlane.tasks.converter.lowering.context import Context, Rule, constant_of
from jetlane.tasks.converter.lowering.tensor import Convolution, Tensor
from jetlane.tasks.converter.uff.model import UffNode

_LAYOUTS = ("N+C", "+CK")


def window(
    node: UffNode, size: Sequence[int], kernel: Sequence[int], dilation: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Strides, ONNX pads (top, left, bottom, right) and output size of a sliding window over ``size`` = (h, w)."""
    strides = [int(step) for step in node.fields["strides"]]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    before, after = [0, 0], [0, 0]
    if node.fields.get("implicit_padding") == "same":
        for axis in (0, 1):
            before[axis], after[axis] = same_padding(size[axis], kernel[axis], strides[axis], dilation[axis])
    elif "padding" in node.fields:
        before = after = [int(amount) for amount in node.fields["padding"]]
    output = [(size[a] + before[a] + after[a] - reach[a]) // strides[a] + 1 for a in (0, 1)]
    if min(output) < 1:
        raise ConversionError(
            f"{node.operation} {node.id!r} leaves nothing of {size[0]}x{size[1]}", "the input is too small"
        )
    return strides, [*before, *after], output


def _convolution(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data, kernel = inputs[0], constant_of(node, inputs[1], "kernel").astype(np.float64)
    if tuple(node.fields["inputs_orders"]) != _LAYOUTS:
        raise ConversionError(f"Conv {node.id!r} has the layouts {node.fields['inputs_orders']}", "NHWC is lowered")
    groups = int(node.fields.get("number_groups", 1))
    height, width, channels, multiplier = kernel.shape
    dilation = [int(step) for step in node.fields.get("dilation", (1, 1))]
    strides, pads, output = window(node, data.shape[1:3], (height, width), dilation)
    if groups > 1:
        # A grouped kernel is [h, w, groups, multiplier]; each group reads one channel.
        weights = kernel.transpose(2, 3, 0, 1).reshape(groups * multiplier, 1, height, width)
    else:
        weights = kernel.transpose(3, 2, 0, 1)
    if data.shape[3] != channels:
        raise ConversionError(f"Conv {node.id!r} wants {channels} channels, its input has {data.shape[3]}", "")
    shape = (1, *output, len(weights))
    attributes = {
        "kernel_shape": [height, width],
        "strides": strides,
        "pads": pads,
        "dilations": dilation,
        "group": groups,
    }
    convolution = Convolution(data.first(context.builder), weights, np.zeros(len(weights)), attributes)
    return Tensor(shape, convolution=convolution)


RULES: dict[str, Rule] = {"Conv": _convolution}
