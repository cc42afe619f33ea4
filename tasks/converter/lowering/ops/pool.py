"""Pool and the reductions over a whole map."""

from __future__ import annotations

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.context import Context, Rule
from jetlane.tasks.converter.lowering.ops.convolution import window
from jetlane.tasks.converter.lowering.tensor import FIRST_AXIS, Tensor
from jetlane.tasks.converter.uff.model import UffNode

_POOLS = {"max": "MaxPool", "avg": "AveragePool"}


def _pool(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    if tuple(node.fields["inputs_orders"]) != ("N+C",):
        raise ConversionError(f"Pool {node.id!r} has the layout {node.fields['inputs_orders']}", "NHWC is lowered")
    kernel = [int(size) for size in node.fields["kernel"]]
    strides, pads, output = window(node, data.shape[1:3], kernel, (1, 1))
    # TensorFlow averages over what lies inside the image, which is what ONNX does when told not to count the padding.
    name = context.builder.op(
        _POOLS[node.fields["func"]], data.first(context.builder), kernel_shape=kernel, strides=strides, pads=pads
    )
    return Tensor((1, *output, data.shape[3]), first=name)


def _reduce(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    if node.fields["func"] != "mean":
        raise ConversionError(f"Reduce {node.id!r} computes {node.fields['func']!r}", "only means are lowered")
    axes = sorted(int(axis) % len(data.shape) for axis in node.fields["axes"])
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(data.shape))
    keep = bool(node.fields.get("keepdims", True))
    if len(shape) == 4 and data.is_channels_first:
        first = [FIRST_AXIS[axis] for axis in axes]
        name = context.builder.op("ReduceMean", data.first(context.builder), axes=sorted(first), keepdims=1)
        reduced = Tensor(shape, first=name)
    else:
        reduced = Tensor(
            shape, last=context.builder.op("ReduceMean", data.last(context.builder), axes=axes, keepdims=1)
        )
    if keep:
        return reduced
    kept = tuple(size for axis, size in enumerate(shape) if axis not in axes)
    return reduced.reshaped(context.builder, kept or tuple(np.shape(0)))


RULES: dict[str, Rule] = {"Pool": _pool, "Reduce": _reduce}
