"""TensorFlow operations on numpy arrays: what shape arithmetic, anchors and constant weights are made of.

Each rule takes the node and its input arrays and gives all outputs. Arithmetic stays in the inputs' dtype, as in
TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jetlane.tasks.converter.graph.graph import Node
from jetlane.tasks.converter.graph.tensors import numpy_dtype

Array = np.ndarray[Any, Any]
Rule = Callable[..., tuple[Array, ...]]

#: Most numbers in a shape, permutation or list of bounds.
_LONGEST = 64


def _one(function: Callable[..., Any]) -> Rule:
    return lambda node, *arrays: (np.asarray(function(*arrays)),)


def _divide(a: Array, b: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.true_divide(a, b) if a.dtype.kind == "f" else np.floor_divide(a, b)


def _cast(node: Node, x: Array) -> tuple[Array, ...]:
    dtype = numpy_dtype(int(node.attr("DstT", 1)))
    return (x.astype(dtype) if dtype is not None else x,)


def _pack(node: Node, *arrays: Array) -> tuple[Array, ...]:
    return (np.stack(arrays, axis=int(node.attr("axis", 0))),)


def _unpack(node: Node, x: Array) -> tuple[Array, ...]:
    return tuple(np.moveaxis(x, int(node.attr("axis", 0)), 0))


def _concat(node: Node, *arrays: Array) -> tuple[Array, ...]:
    return (np.concatenate(arrays[:-1], axis=arrays[-1].item()),)


def _concat_v1(node: Node, *arrays: Array) -> tuple[Array, ...]:
    return (np.concatenate(arrays[1:], axis=arrays[0].item()),)


def _squeeze(node: Node, x: Array) -> tuple[Array, ...]:
    axes = node.attr("squeeze_dims") or node.attr("axis") or None
    return (np.squeeze(x, axis=tuple(axes) if axes else None),)


def _split(node: Node, axis: Array, x: Array) -> tuple[Array, ...]:
    return tuple(np.split(x, int(node.attr("num_split", 1)), axis=axis.item()))


def integers(values: Array) -> list[int]:
    """A shape, permutation or list of bounds as whole numbers.

    Raises:
        ValueError: It is a matrix, or far too long, as only a damaged graph has it.
    """
    if values.ndim > 1 or values.size > _LONGEST:
        raise ValueError(f"a list of numbers is wanted, not an array of shape {list(values.shape)}")
    return [int(value) for value in np.atleast_1d(values)]


def _slice(node: Node, x: Array, begin: Array, size: Array) -> tuple[Array, ...]:
    cut = tuple(slice(b, None if s == -1 else b + s) for b, s in zip(integers(begin), integers(size)))
    return (x[cut],)


def strided_slice(node: Node, x: Array, begin: Array, end: Array, strides: Array) -> tuple[Array, ...]:
    """StridedSlice with begin, end, ellipsis, new-axis and shrink masks."""
    masks = {key: int(node.attr(f"{key}_mask", 0)) for key in ("begin", "end", "ellipsis", "new_axis", "shrink_axis")}
    cut: list[Any] = []
    for i, (b, e, s) in enumerate(zip(integers(begin), integers(end), integers(strides))):
        bit = 1 << i
        if masks["ellipsis"] & bit:
            cut.append(Ellipsis)
        elif masks["new_axis"] & bit:
            cut.append(None)
        elif masks["shrink_axis"] & bit:
            cut.append(b)
        else:
            cut.append(slice(None if masks["begin"] & bit else b, None if masks["end"] & bit else e, s))
    return (x[tuple(cut)],)


def _gather(node: Node, x: Array, indices: Array, axis: Any = 0) -> tuple[Array, ...]:
    return (np.take(x, indices, axis=np.asarray(axis).item()),)


def _select(node: Node, condition: Array, x: Array, y: Array) -> tuple[Array, ...]:
    """Select's condition may be a list, of one choice for each row."""
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape(-1, *[1] * (x.ndim - 1))
    return (np.where(condition, x, y),)


def _reduce(function: Callable[..., Any]) -> Rule:
    def rule(node: Node, x: Array, axes: Array) -> tuple[Array, ...]:
        keep = bool(node.attr("keep_dims", node.attr("keepdims", False)))
        chosen = tuple(int(axis) for axis in np.atleast_1d(axes))
        return (np.asarray(function(x, axis=chosen, keepdims=keep)).astype(x.dtype, copy=False),)

    return rule


def _range(node: Node, start: Array, limit: Array, delta: Array) -> tuple[Array, ...]:
    return (np.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype),)


def _fill(node: Node, shape: Array, value: Array) -> tuple[Array, ...]:
    return (np.full(integers(shape), value, value.dtype),)


def _fused_batch_norm(
    node: Node, x: Array, gamma: Array, beta: Array, mean: Array, variance: Array
) -> tuple[Array, ...]:
    scale = gamma / np.sqrt(variance + np.float32(node.attr("epsilon", 1e-3)))
    return (x * scale + (beta - mean * scale),)


def _fake_quant(node: Node, x: Array, low: Array, high: Array) -> tuple[Array, ...]:
    """FakeQuantWithMinMaxVars(PerChannel): the range is nudged so that zero is exact, then x is rounded to its grid."""
    steps = float(2 ** int(node.attr("num_bits", 8)) - 1)
    first = 1.0 if node.attr("narrow_range", False) else 0.0
    scale = (high.astype(np.float32) - low) / np.float32(steps - first)
    with np.errstate(divide="ignore", invalid="ignore"):
        zero = np.clip(np.floor(first - low / scale + np.float32(0.5)), first, steps)
        bottom, top = (first - zero) * scale, (steps - zero) * scale
        rounded = np.floor((np.clip(x, bottom, top) - bottom) / scale + np.float32(0.5)) * scale + bottom
    return (np.where(high == low, np.zeros_like(x), rounded).astype(np.float32),)


VALUE_OPS: dict[str, Rule] = {
    "Identity": _one(lambda x: x),
    "Add": _one(np.add),
    "AddV2": _one(np.add),
    "Sub": _one(np.subtract),
    "Mul": _one(np.multiply),
    "RealDiv": _one(_divide),
    "Div": _one(_divide),
    "FloorDiv": _one(np.floor_divide),
    "FloorMod": _one(np.mod),
    "Minimum": _one(np.minimum),
    "Maximum": _one(np.maximum),
    "Pow": _one(np.power),
    "Neg": _one(np.negative),
    "Exp": _one(np.exp),
    "Log": _one(np.log),
    "Sqrt": _one(np.sqrt),
    "Rsqrt": _one(lambda x: (1 / np.sqrt(x)).astype(x.dtype)),
    "Square": _one(np.square),
    "SquaredDifference": _one(lambda a, b: np.square(a - b)),
    "Abs": _one(np.abs),
    "Floor": _one(np.floor),
    "Ceil": _one(np.ceil),
    "Round": _one(np.round),
    "Relu": _one(lambda x: np.maximum(x, 0)),
    "Relu6": _one(lambda x: np.clip(x, 0, 6)),
    "Less": _one(np.less),
    "LessEqual": _one(np.less_equal),
    "Greater": _one(np.greater),
    "GreaterEqual": _one(np.greater_equal),
    "Equal": _one(np.equal),
    "NotEqual": _one(np.not_equal),
    "LogicalAnd": _one(np.logical_and),
    "LogicalOr": _one(np.logical_or),
    "LogicalNot": _one(np.logical_not),
    "Select": _select,
    "SelectV2": _one(np.where),
    "ZerosLike": _one(np.zeros_like),
    "OnesLike": _one(np.ones_like),
    "Shape": _one(lambda x: np.array(x.shape, np.int32)),
    "Size": _one(lambda x: np.int32(x.size)),
    "Rank": _one(lambda x: np.int32(x.ndim)),
    "Reshape": _one(lambda x, shape: np.reshape(x, integers(shape))),
    "ExpandDims": _one(lambda x, axis: np.expand_dims(x, axis.item())),
    "Tile": _one(lambda x, multiples: np.tile(x, integers(multiples))),
    "Transpose": _one(lambda x, permutation: np.transpose(x, integers(permutation))),
    "Pad": _one(lambda x, paddings: np.pad(x, [(int(a), int(b)) for a, b in paddings])),
    "BiasAdd": _one(np.add),
    "Cast": _cast,
    "Pack": _pack,
    "Unpack": _unpack,
    "ConcatV2": _concat,
    "Concat": _concat_v1,
    "Squeeze": _squeeze,
    "Split": _split,
    "Slice": _slice,
    "StridedSlice": strided_slice,
    "Gather": _gather,
    "GatherV2": _gather,
    "Range": _range,
    "Fill": _fill,
    "Sum": _reduce(np.sum),
    "Mean": _reduce(np.mean),
    "Prod": _reduce(np.prod),
    "Max": _reduce(np.max),
    "Min": _reduce(np.min),
    "All": _reduce(np.all),
    "Any": _reduce(np.any),
    "FusedBatchNorm": _fused_batch_norm,
    "FusedBatchNormV2": _fused_batch_norm,
    "FusedBatchNormV3": _fused_batch_norm,
    "FakeQuantWithMinMaxVars": _fake_quant,
    "FakeQuantWithMinMaxVarsPerChannel": _fake_quant,
}
