"""Pool and Reduce."""

from __future__ import annotations

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.context import Context, Rule
from jetlane.tasks.converter.lowering.ops.convolution import window
from jetlane.tasks.converter.lowering.tensor import FIRST_AXIS, Tensor
from jetlane.tasks.converter.uff.model import UffNode

_POOLS = {"max": "MaxPool", "avg": "AveragePool"}
_REDUCTIONS = {
    "mean": "ReduceMean",
    "sum": "ReduceSum",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "prod": "ReduceProd",
}


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
    kind, builder = _REDUCTIONS[node.fields["func"]], context.builder
    axes = sorted(int(axis) % len(data.shape) for axis in node.fields["axes"])
    shape = tuple(1 if axis in axes else size for axis, size in enumerate(data.shape))
    first = len(shape) == 4 and data.is_channels_first
    along = sorted(FIRST_AXIS[axis] for axis in axes) if first else axes
    source = data.first(builder) if first else data.last(builder)
    if kind == "ReduceSum":  # in this opset its axes are an input
        name = builder.op(kind, source, builder.ints(*along), keepdims=1)
    else:
        name = builder.op(kind, source, axes=along, keepdims=1)
    reduced = Tensor(shape, first=name) if first else Tensor(shape, last=name)
    if bool(node.fields.get("keepdims", True)):
        return reduced
    return reduced.reshaped(builder, tuple(size for axis, size in enumerate(shape) if axis not in axes))


RULES: dict[str, Rule] = {"Pool": _pool, "Reduce": _reduce}
