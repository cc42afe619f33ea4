"""Binary, BatchNorm, Activation, Unary, Softmax.

A product or a sum with one number per channel is folded into the convolution before it, in float64; this covers biases,
batch norm as one operation, and batch norm left as its elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.arithmetic import affine
from jetlane.tasks.converter.lowering.builder import Array
from jetlane.tasks.converter.lowering.context import Context, Rule, constant_of
from jetlane.tasks.converter.lowering.tensor import Tensor
from jetlane.tasks.converter.uff.model import UffNode

_BINARY: dict[str, tuple[str, Callable[..., Array]]] = {
    "add": ("Add", np.add),
    "sub": ("Sub", np.subtract),
    "mul": ("Mul", np.multiply),
    "div": ("Div", np.divide),
    "min": ("Min", np.minimum),
    "max": ("Max", np.maximum),
}
_UNARY: dict[str, tuple[Optional[str], Callable[..., Array]]] = {
    "neg": ("Neg", np.negative),
    "exp": ("Exp", np.exp),
    "sqrt": ("Sqrt", np.sqrt),
    "abs": ("Abs", np.abs),
    "rsqrt": (None, lambda x: 1 / np.sqrt(x)),
    "square": (None, np.square),
    "log": ("Log", np.log),
}
_ACTIVATIONS = {
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "elu": "Elu",
    "softplus": "Softplus",
    "softsign": "Softsign",
}


def _binary(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    left, right = inputs
    function = str(node.fields["func"])
    if function not in _BINARY:
        raise ConversionError(f"Binary {node.id!r} computes {function!r}", f"lowered are {', '.join(_BINARY)}")
    if left.array is not None and right.array is not None:
        context.afford(node, np.broadcast_shapes(left.shape, right.shape))
        return Tensor.constant(_BINARY[function][1](left.array, right.array))
    affine = _as_affine(function, left, right)
    if affine is not None:
        index = 0 if right.array is not None else 1
        return scaled(context, inputs[index], *affine, once=context.read_once(node.inputs[index]))
    return _write(context, _BINARY[function][0], left, right)


def _as_affine(function: str, left: Tensor, right: Tensor) -> Optional[tuple[Array, Array]]:
    """(scale, offset) per channel, float64, where one side is a constant with one number per channel of the other."""
    data, constant = (left, right) if right.array is not None else (right, left)
    if constant.array is None or not data.shape:
        return None
    return affine(function, constant.array, data.shape[-1], constant_first=data is right)


def scaled(context: Context, data: Tensor, scale: Array, offset: Array, *, once: bool) -> Tensor:
    """``data * scale + offset`` per channel; folded into the convolution before it if nothing else reads that."""
    if once and data.convolution is not None:
        return Tensor(data.shape, convolution=data.convolution.scaled(scale, offset))
    builder, form = context.builder, (-1, 1, 1) if data.is_channels_first else (-1,)
    name = data.first(builder) if data.is_channels_first else data.last(builder)
    if np.any(scale != 1):
        name = builder.op("Mul", name, builder.constant(_short(scale).reshape(form)))
    if np.any(offset != 0):
        name = builder.op("Add", name, builder.constant(_short(offset).reshape(form)))
    return Tensor(data.shape, first=name) if data.is_channels_first else Tensor(data.shape, last=name)


def _short(numbers: Array) -> Array:
    """float32; one number where all are the same."""
    numbers = numbers.astype(np.float32)
    return numbers[:1] if np.all(numbers == numbers[0]) else numbers


def _write(context: Context, kind: str, left: Tensor, right: Tensor) -> Tensor:
    builder = context.builder
    shape = np.broadcast_shapes(left.shape, right.shape)
    if any(side.is_channels_first for side in (left, right)) and len(shape) == 4:
        sides = [
            side if len(side.shape) == 4 else side.reshaped(builder, (1,) * (4 - len(side.shape)) + side.shape)
            for side in (left, right)
        ]
        return Tensor(shape, first=builder.op(kind, *(side.first(builder) for side in sides)))
    return Tensor(shape, last=builder.op(kind, left.last(builder), right.last(builder)))


def _batch_norm(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    data = inputs[0]
    if tuple(node.fields.get("inputs_orders", ("N+C",))) != ("N+C",):
        raise ConversionError(f"BatchNorm {node.id!r} has the layout {node.fields['inputs_orders']}", "NHWC is lowered")
    roles = ("gamma", "beta", "mean", "variance")
    gamma, beta, mean, variance = (
        constant_of(node, value, role).astype(np.float64) for value, role in zip(inputs[1:], roles)
    )
    scale = gamma / np.sqrt(variance + node.fields["epsilon"])
    return scaled(context, data, scale, beta - mean * scale, once=context.read_once(node.inputs[0]))


def _activation(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    function, builder = str(node.fields["func"]), context.builder
    if function == "relu6":
        bounds = [builder.constant(np.float32(bound)) for bound in (0, 6)]
        return _map(context, data, "Clip", *bounds)
    if function not in _ACTIVATIONS:
        raise ConversionError(
            f"Activation {node.id!r} is {function!r}", f"lowered are relu6, {', '.join(_ACTIVATIONS)}"
        )
    return _map(context, data, _ACTIVATIONS[function])


def _unary(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    (data,) = inputs
    kind, function = _UNARY.get(str(node.fields["func"]), (None, None))
    if data.array is not None and function is not None:
        return Tensor.constant(function(data.array))
    if kind is None:
        raise ConversionError(f"Unary {node.id!r} computes {node.fields['func']!r}", "it has no lowering")
    return _map(context, data, kind)


def _map(context: Context, data: Tensor, kind: str, *further: str) -> Tensor:
    """An operation on each element, in whichever order the value lies."""
    builder = context.builder
    if data.is_channels_first:
        return Tensor(data.shape, first=builder.op(kind, data.first(builder), *further))
    return Tensor(data.shape, last=builder.op(kind, data.last(builder), *further))


def _softmax(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    """Over the axis that the parsers take: the last of two; else the first of the last three, which NC+ says it is."""
    (data,) = inputs
    rank = len(data.shape)
    axis = 1 if rank == 2 else 1 + max(0, rank - 4)
    if rank > 2 and tuple(node.fields["inputs_orders"]) != ("NC+",):
        why = "TensorRT 5.1 and 6.0 take the last axis, later ones another"
        raise ConversionError(f"Softmax {node.id!r} has the layout {node.fields['inputs_orders']}", why)
    return Tensor(data.shape, last=context.builder.op("Softmax", data.last(context.builder), axis=axis))


RULES: dict[str, Rule] = {
    "Binary": _binary,
    "BatchNorm": _batch_norm,
    "Activation": _activation,
    "Unary": _unary,
    "Softmax": _softmax,
}
