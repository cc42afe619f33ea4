"""Static shapes of TensorFlow operations, for tensors whose values are not known.

Each rule takes the node and a :class:`Fact` per input and gives the shapes of all outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.graph import Node
from jetlane.tasks.converter.graph.value_ops import integers, strided_slice

Shape = tuple[int, ...]

#: Outputs of one operation, dimensions of a tensor; no network has more.
_MOST_OUTPUTS, _MOST_DIMENSIONS = 1 << 16, 32


@dataclass(frozen=True)
class Fact:
    """What is known of a tensor without running the network.

    Attributes:
        shape: Static shape; None where it could not be inferred.
        value: The values, where they depend on constants and shapes alone.
    """

    shape: Optional[Shape] = None
    value: Optional[np.ndarray[Any, Any]] = None


class Unknown(Exception):
    """A shape does not follow from what is known."""


def _shape(fact: Fact) -> Shape:
    if fact.shape is None:
        raise Unknown
    return fact.shape


def _value(fact: Fact) -> np.ndarray[Any, Any]:
    if fact.value is None:
        raise Unknown
    return fact.value


def _same(node: Node, x: Fact, *rest: Fact) -> list[Shape]:
    return [_shape(x)]


def _broadcast(node: Node, *facts: Fact) -> list[Shape]:
    return [tuple(np.broadcast_shapes(*(_shape(fact) for fact in facts)))]


def spatial(node: Node, key: str) -> tuple[int, int]:
    """The two spatial entries of a 4-entry attribute (strides, ksize, dilations), height first."""
    values = node.attr(key) or [1, 1, 1, 1]
    if len(values) != 4 or not all(isinstance(value, int) for value in values):
        raise GraphError(f"{node.op} {node.name!r} has the {key} {values}", "four numbers are understood", "")
    return (int(values[2]), int(values[3])) if channels_first(node) else (int(values[1]), int(values[2]))


def channels_first(node: Node) -> bool:
    return bool(node.attr("data_format", "NHWC") == "NCHW")


def window_output(size: int, kernel: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Output length of a sliding window along one axis, as TensorFlow counts it."""
    if padding == "SAME":
        return -(-size // stride)
    return max(0, -(-(size - (kernel - 1) * dilation) // stride))


def _windows(node: Node, x: Shape, kernel: tuple[int, int], channels: int) -> list[Shape]:
    if len(x) != 4:
        raise Unknown
    padding = node.attr("padding", "VALID")
    if padding not in ("SAME", "VALID"):
        raise GraphError(f"{node.op} {node.name!r} has explicit paddings", "only SAME and VALID are understood", "")
    strides, dilations = spatial(node, "strides"), spatial(node, "dilations")
    height, width = (x[2], x[3]) if channels_first(node) else (x[1], x[2])
    out = [window_output(size, k, s, padding, d) for size, k, s, d in zip((height, width), kernel, strides, dilations)]
    return [(x[0], channels, *out)] if channels_first(node) else [(x[0], *out, channels)]


def _conv(node: Node, x: Fact, kernel: Fact) -> list[Shape]:
    k = _shape(kernel)
    return _windows(node, _shape(x), (k[0], k[1]), k[3])


def _depthwise(node: Node, x: Fact, kernel: Fact) -> list[Shape]:
    k = _shape(kernel)
    return _windows(node, _shape(x), (k[0], k[1]), k[2] * k[3])


def _pool(node: Node, x: Fact) -> list[Shape]:
    shape = _shape(x)
    return _windows(node, shape, spatial(node, "ksize"), shape[1] if channels_first(node) else shape[-1])


def _pad(node: Node, x: Fact, paddings: Fact, *rest: Fact) -> list[Shape]:
    return [tuple(size + int(a) + int(b) for size, (a, b) in zip(_shape(x), _value(paddings)))]


def _reshape(node: Node, x: Fact, shape: Fact) -> list[Shape]:
    wanted = integers(_value(shape))
    if -1 in wanted:
        known = int(np.prod([size for size in wanted if size != -1]))
        count = int(np.prod(_shape(x)))
        if known == 0 or count % known:
            raise Unknown
        wanted[wanted.index(-1)] = count // known
    return [tuple(wanted)]


def _squeeze(node: Node, x: Fact) -> list[Shape]:
    shape = _shape(x)
    axes = [axis % len(shape) for axis in (node.attr("squeeze_dims") or node.attr("axis") or [])]
    return [tuple(size for axis, size in enumerate(shape) if not (axis in axes if axes else size == 1))]


def _expand(node: Node, x: Fact, axis: Fact) -> list[Shape]:
    shape = list(_shape(x))
    place = int(_value(axis).item())
    shape.insert(place if place >= 0 else len(shape) + 1 + place, 1)
    return [tuple(shape)]


def _concat(node: Node, *facts: Fact) -> list[Shape]:
    axis = int(_value(facts[-1]).item())
    shapes = [_shape(fact) for fact in facts[:-1]]
    result = list(shapes[0])
    result[axis] = sum(shape[axis] for shape in shapes)
    return [tuple(result)]


def _pack(node: Node, *facts: Fact) -> list[Shape]:
    shape = list(_shape(facts[0]))
    axis = int(node.attr("axis", 0))
    shape.insert(axis if axis >= 0 else len(shape) + 1 + axis, len(facts))
    return [tuple(shape)]


def _unpack(node: Node, x: Fact) -> list[Shape]:
    shape = list(_shape(x))
    count = shape.pop(int(node.attr("axis", 0)))
    return [tuple(shape)] * _outputs(count)


def _split(node: Node, axis: Fact, x: Fact) -> list[Shape]:
    shape, place, count = list(_shape(x)), int(_value(axis).item()), int(node.attr("num_split", 1))
    shape[place] //= count
    return [tuple(shape)] * _outputs(count)


def _outputs(count: int) -> int:
    if not 0 <= count <= _MOST_OUTPUTS:
        raise ValueError(f"{count} outputs are more than can be meant")
    return count


def _gather(node: Node, x: Fact, indices: Fact, axis: Optional[Fact] = None) -> list[Shape]:
    shape, place = _shape(x), int(_value(axis).item()) if axis is not None else 0
    if len(shape) + len(_shape(indices)) > _MOST_DIMENSIONS:
        raise ValueError("more dimensions than can be meant")
    place %= max(1, len(shape))
    return [(*shape[:place], *_shape(indices), *shape[place + 1 :])]


def _concat_v1(node: Node, axis: Fact, *facts: Fact) -> list[Shape]:
    return _concat(node, *facts, axis)


def _transpose(node: Node, x: Fact, permutation: Fact) -> list[Shape]:
    shape = _shape(x)
    return [tuple(shape[axis] for axis in integers(_value(permutation)))]


def _tile(node: Node, x: Fact, multiples: Fact) -> list[Shape]:
    return [tuple(size * times for size, times in zip(_shape(x), integers(_value(multiples))))]


def _strided_slice(node: Node, x: Fact, *bounds: Fact) -> list[Shape]:
    ghost = np.lib.stride_tricks.as_strided(np.zeros(1, np.int8), _shape(x), (0,) * len(_shape(x)))
    return [strided_slice(node, ghost, *(_value(bound) for bound in bounds))[0].shape]


def _slice(node: Node, x: Fact, begin: Fact, size: Fact) -> list[Shape]:
    sizes = zip(_shape(x), integers(_value(begin)), integers(_value(size)))
    return [tuple(full - b if s == -1 else s for full, b, s in sizes)]


def _reduce(node: Node, x: Fact, axes: Fact) -> list[Shape]:
    shape = _shape(x)
    gone = {int(axis) % len(shape) for axis in np.atleast_1d(_value(axes))}
    keep = bool(node.attr("keep_dims", node.attr("keepdims", False)))
    return [tuple(1 if axis in gone else size for axis, size in enumerate(shape) if keep or axis not in gone)]


def _matmul(node: Node, a: Fact, b: Fact) -> list[Shape]:
    rows = _shape(a)[1 if node.attr("transpose_a", False) else 0]
    columns = _shape(b)[0 if node.attr("transpose_b", False) else 1]
    return [(rows, columns)]


def _resize(node: Node, x: Fact, size: Fact) -> list[Shape]:
    shape, (height, width) = _shape(x), integers(_value(size))
    return [(shape[0], height, width, shape[3])]


def _select(node: Node, condition: Fact, x: Fact, y: Fact) -> list[Shape]:
    return [_shape(x)]


def _conv_transpose(node: Node, size: Fact, kernel: Fact, x: Fact) -> list[Shape]:
    return [tuple(integers(_value(size)))]


def _batch_norm(node: Node, x: Fact, *rest: Fact) -> list[Shape]:
    return [_shape(x)] * 5


_UNARY = (
    "Identity Relu Relu6 Elu Selu LeakyRelu Sigmoid Tanh Softplus Softsign Softmax LogSoftmax Neg Exp Log Abs Sqrt "
    "Rsqrt Square Floor Ceil Round Cast BiasAdd LRN ZerosLike OnesLike StopGradient CheckNumerics Sin Cos Tan Erf "
    "FakeQuantWithMinMaxVars FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVarsPerChannel Reciprocal LogicalNot"
)
_BINARY = (
    "Add AddV2 Sub Mul RealDiv Div FloorDiv Minimum Maximum Pow SquaredDifference Less Greater GreaterEqual "
    "Equal FloorMod LessEqual NotEqual LogicalAnd LogicalOr SelectV2"
)
_REDUCE = "Mean Sum Prod Max Min All Any"

SHAPE_OPS: dict[str, Callable[..., Sequence[Shape]]] = {
    **dict.fromkeys(_UNARY.split(), _same),
    **dict.fromkeys(_BINARY.split(), _broadcast),
    **dict.fromkeys(_REDUCE.split(), _reduce),
    "AddN": _broadcast,
    "Select": _select,
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _depthwise,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand,
    "ConcatV2": _concat,
    "Pack": _pack,
    "Concat": _concat_v1,
    "Unpack": _unpack,
    "Split": _split,
    "Gather": _gather,
    "GatherV2": _gather,
    "Transpose": _transpose,
    "Tile": _tile,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "MatMul": _matmul,
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "Conv2DBackpropInput": _conv_transpose,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
}
