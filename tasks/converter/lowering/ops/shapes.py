"""Reshape and its relatives, and the arithmetic on shapes, which is all known before the network runs."""

from __future__ import annotations

from math import prod

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.builder import Array
from jetlane.tasks.converter.lowering.context import Context, Rule, constant_of
from jetlane.tasks.converter.lowering.tensor import FIRST_AXIS, Tensor
from jetlane.tasks.converter.uff.model import UffNode


def _reshape(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data = inputs[0]
    wanted = [int(size) for size in constant_of(node, inputs[1], "shape").ravel()]
    if wanted.count(-1) > 1:
        # A batch of unknown size beside another unknown: the batch is 1 here.
        wanted[wanted.index(-1)] = 1
    if -1 in wanted:
        known = prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = prod(data.shape) // known if known else 0
    return data.reshaped(context.builder, tuple(wanted))


def _flatten(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    return data.reshaped(context.builder, (data.shape[0], prod(data.shape[1:])))


def _squeeze(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    axes = [int(axis) % len(data.shape) for axis in node.fields.get("axes", [])]
    axes = axes or [axis for axis, size in enumerate(data.shape) if size == 1]
    return data.reshaped(context.builder, tuple(size for axis, size in enumerate(data.shape) if axis not in axes))


def _expand(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    shape = list(data.shape)
    axis = int(node.fields["axis"])
    shape.insert(axis if axis >= 0 else axis + len(shape) + 1, 1)
    return data.reshaped(context.builder, tuple(shape))


def _transpose(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    order = [int(axis) for axis in node.fields["permutation"]]
    if data.array is not None:
        return Tensor.constant(data.array.transpose(order))
    shape = tuple(data.shape[axis] for axis in order)
    return Tensor(shape, last=context.builder.op("Transpose", data.last(context.builder), perm=order))


def _shape(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    return Tensor.constant(np.array(inputs[0].shape, np.int32))


def _stack(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    axis = int(node.fields["axis"])
    if all(value.array is not None for value in inputs):
        context.afford(node, (len(inputs), *inputs[0].shape))
        return Tensor.constant(np.stack([constant_of(node, value, "input") for value in inputs], axis))
    shape = list(inputs[0].shape)
    axis = axis if axis >= 0 else axis + len(shape) + 1
    single = [value.reshaped(context.builder, (*shape[:axis], 1, *shape[axis:])) for value in inputs]
    name = context.builder.op("Concat", *(value.last(context.builder) for value in single), axis=axis)
    return Tensor((*shape[:axis], len(inputs), *shape[axis:]), last=name)


def _concat(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    if len(inputs) == 1:
        return inputs[0]
    builder, rank = context.builder, len(inputs[0].shape)
    axis = int(node.fields["axis"]) % rank
    if all(value.array is not None for value in inputs):
        context.afford(node, (sum(prod(value.shape) for value in inputs),))
        return Tensor.constant(np.concatenate([constant_of(node, value, "input") for value in inputs], axis))
    shape = list(inputs[0].shape)
    shape[axis] = sum(value.shape[axis] for value in inputs)
    if rank == 4 and any(value.is_channels_first for value in inputs):
        names = [value.first(builder) for value in inputs]
        return Tensor(tuple(shape), first=builder.op("Concat", *names, axis=FIRST_AXIS[axis]))
    return Tensor(tuple(shape), last=builder.op("Concat", *(value.last(builder) for value in inputs), axis=axis))


def _slice(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data = inputs[0]
    begin, end, steps = (constant_of(node, value, "bounds").ravel() for value in inputs[1:4])
    masks = [int(node.fields.get(f"{kind}_mask", 0)) for kind in ("begin", "end", "shrink_axis")]
    ranges = []
    for axis, size in enumerate(data.shape):
        if axis >= len(begin):
            ranges.append(range(size))
            continue
        first, last, shrink = (mask >> axis & 1 for mask in masks)
        start = int(begin[axis])
        if shrink:
            ranges.append(range(size)[start:][:1])
        else:
            ranges.append(
                range(size)[slice(None if first else start, None if last else int(end[axis]), int(steps[axis]))]
            )
    kept = tuple(len(numbers) for axis, numbers in enumerate(ranges) if axis >= len(begin) or not masks[2] >> axis & 1)
    return _sliced(context, data, ranges).reshaped(context.builder, kept)


def _sliced(context: Context, data: Tensor, ranges: list[range]) -> Tensor:
    """The given indices of each axis."""
    if data.array is not None:
        return Tensor.constant(data.array[np.ix_(*ranges)])
    axes = [axis for axis, numbers in enumerate(ranges) if numbers != range(data.shape[axis])]
    if not axes:
        return data
    builder = context.builder
    bounds = zip(*((ranges[axis].start, ranges[axis].stop, axis, ranges[axis].step) for axis in axes))
    name = builder.op("Slice", data.last(builder), *(builder.ints(*numbers) for numbers in bounds))
    return Tensor(tuple(len(numbers) for numbers in ranges), last=name)


def _pad(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data, amounts = inputs[0], constant_of(node, inputs[1], "paddings").astype(np.int64)
    shape = tuple(size + int(sum(amount)) for size, amount in zip(data.shape, amounts))
    builder = context.builder
    if len(shape) == 4:
        ordered = amounts[[0, 3, 1, 2]]
        if context.feeds_maximum(node.id):
            return Tensor(shape, first=_with_zeros(context, data, ordered))
        return Tensor(shape, first=builder.op("Pad", data.first(builder), builder.ints(*ordered.T.ravel())))
    return Tensor(shape, last=builder.op("Pad", data.last(builder), builder.ints(*amounts.T.ravel())))


def _with_zeros(context: Context, data: Tensor, amounts: Array) -> str:
    """Zeros joined to a map: onnxruntime makes a Pad the padding of the MaxPool behind it, which leaves the zeros out.

    Args:
        amounts: int [4, 2], before and after each axis of NCHW.
    """
    builder, name = context.builder, data.first(context.builder)
    sizes = [data.shape[0], data.shape[3], *data.shape[1:3]]
    for axis, (before, after) in enumerate(amounts.tolist()):
        parts = [name]
        for amount, place in ((before, 0), (after, 2)):
            if amount:
                zeros = np.zeros([amount if a == axis else size for a, size in enumerate(sizes)], np.float32)
                parts.insert(place, builder.constant(zeros, "zeros"))
        name = builder.op("Concat", *parts, axis=axis) if len(parts) > 1 else name
        sizes[axis] += before + after
    return name


def _const(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    values = node.fields.get("values")
    if not isinstance(values, np.ndarray):
        raise ConversionError(f"constant {node.id!r} holds no numbers", "it cannot be lowered")
    return Tensor.constant(values)


def _identity(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    return inputs[0]


RULES: dict[str, Rule] = {
    "Const": _const,
    "Identity": _identity,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "Transpose": _transpose,
    "Shape": _shape,
    "Stack": _stack,
    "Concat": _concat,
    "StridedSlice": _slice,
    "Pad": _pad,
}
