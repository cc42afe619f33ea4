"""A graph for every pattern that the converter can write: its forms, each on two maps and before two tails.

One map has a height, width and channels that differ, so that a mix-up of dimensions is
refused; the other has equal ones, where it is not. Behind each form stands a Reshape, as in an SSD's heads, and besides
a convolution before that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Optional

import numpy as np
from tests.tasks.converter.graph.sketches import Sketch
from tests.uffparser.canvas import NHWC, Canvas

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.uff import Uff, convert_graph
from jetlane.tasks.converter.uff.signature import signature

#: Of the Input: height and width.
SIZE = (6, 4)
_IMAGE = (1, *SIZE, 3)

#: Draws a form on a map, of which it is given the name and the shape; returns the result's name.
Form = Callable[["Picture", str, tuple[int, ...]], str]


class Picture(Canvas):
    """Its weights are the same wherever they are made: eighths, whose sums and products are exact."""

    _made = 0

    def __init__(self, sketch: Sketch, prefix: str) -> None:
        super().__init__(sketch, prefix)
        self.told: dict[str, tuple[int, ...]] = {}
        self._start = len(sketch.nodes)

    def numbers(self, *shape: int) -> np.ndarray:
        self._made += 1
        numbers = (np.arange(np.prod(shape)) * 37 + 11 * self._made) % 17 - 8
        return (numbers / 8).astype(np.float32).reshape(shape)

    def shape(self, name: str) -> Optional[tuple[int, ...]]:
        """Of a node; None where the converter does not know it and no form told it."""
        own = Graph([self.sketch.nodes[0], *self.sketch.nodes[self._start :]])
        return self.told.get(name) or Evaluator(own, {"Input": _IMAGE}).fact(name).shape

    def ints(self, *values: int) -> str:
        return self.const(np.array(values, np.int32))

    def window(self, op: str, x: str, size: tuple[int, int], stride: int, padding: str) -> str:
        """A pooling."""
        window = {"ksize": [1, *size, 1], "strides": [1, stride, stride, 1], "padding": padding}
        return self.add(op, x, **window, **NHWC)


@dataclass(frozen=True)
class PatternFile:
    """A UFF file with all forms of patterns.

    Attributes:
        graph: What was converted.
        uff: Reads ``Input``, float32 [1, 3, 6, 4].
        outputs: Names of the nodes that its MarkOutputs read.
        signature: Of the file.
    """

    graph: Graph
    uff: Uff
    outputs: tuple[str, ...]

    @property
    def signature(self) -> str:
        return signature(self.uff)

    def of(self, name: str) -> PatternFile:
        """The same file, with the outputs of one pattern."""
        prefix = f"{name}/".replace(" ", "_")
        return replace(self, outputs=tuple(one for one in self.outputs if one.startswith(prefix)))


def image() -> np.ndarray:
    """What the files are run on: float32 [3, 6, 4]."""
    numbers = (np.arange(3 * SIZE[0] * SIZE[1]) * 29 + 5) % 33 - 16
    return (numbers / 16).astype(np.float32).reshape(3, *SIZE)


def file_of(*names: str) -> PatternFile:
    """One file with all forms of these patterns."""
    sketch, outputs = Sketch(), []
    sketch.input("Input", (1, 3, *SIZE))
    for name in names:
        for index, form in enumerate(FORMS[name]):
            for height, channels in ((SIZE[0], 5), (SIZE[1], SIZE[1])):
                for tail in ("reshaped", "convolved"):
                    picture = Picture(sketch, f"{name}/{index}/{height}x{SIZE[1]}/{tail}".replace(" ", "_"))
                    end = _drawn(picture, form, height, channels, tail)
                    outputs += [end] if end else []
    uff = convert_graph(sketch.graph(), outputs, {"Input": _IMAGE})
    return PatternFile(sketch.graph(), uff, tuple(outputs))


def _drawn(picture: Picture, form: Form, height: int, channels: int, tail: str) -> Optional[str]:
    """The output of one form, or None where a tail does not suit it."""
    kernel = picture.const(picture.numbers(SIZE[0] - height + 1, 1, 3, channels))
    name = picture.add("Conv2D", "Input", kernel, strides=[1, 1, 1, 1], padding="VALID", **NHWC)
    x = picture.add("BiasAdd", name, picture.const(picture.numbers(channels)), **NHWC)
    y = form(picture, x, (1, height, SIZE[1], channels))
    shape = picture.shape(y)
    if shape is None:  # it is flat already
        return y if tail == "reshaped" else None
    if tail == "convolved":
        if len(shape) != 4:
            return None
        y, shape = picture.conv(y, shape, 3, 1, 1, "SAME")  # type: ignore[arg-type]
    return picture.flat(y, shape)


# ---- forms -----------------------------------------------------------------------------------------------------------


def _plain(op: str, **attributes: object) -> Form:
    """An operation on each number."""
    return lambda p, x, shape: _told(p, p.add(op, x, **attributes), shape)


def _told(p: Picture, name: str, shape: tuple[int, ...]) -> str:
    p.told[name] = shape
    return name


def _positive(p: Picture, x: str) -> str:
    """From 1.5 to 7.5."""
    return p.add("Add", p.add("Relu6", x), p.const(np.float32(1.5)))


def _small(p: Picture, x: str) -> str:
    """Between 0 and 0.875."""
    return p.add("Mul", p.add("Sigmoid", x), p.const(np.float32(0.875)))


def _of(before: Callable[[Picture, str], str], op: str) -> Form:
    return lambda p, x, shape: _told(p, p.add(op, before(p, x)), shape)


def _with_constant(op: str, size: str, first: bool = False) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        sizes = [shape[3] if word == "C" else int(word) for word in size.split()]
        constant = p.const(np.abs(p.numbers(*sizes)) + np.float32(0.5))
        return p.add(op, *((constant, x) if first else (x, constant)))

    return form


def _behind_reshape(op: str) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        flat = p.reshape(x, shape[1] * shape[2], 1, shape[3])
        return p.add(op, flat, p.const(np.float32(0.75)))

    return form


def _second(p: Picture, shape: tuple[int, ...]) -> str:
    """Another map of the same shape, from the image."""
    kernel = p.const(p.numbers(SIZE[0] - shape[1] + 1, 1, 3, shape[3]))
    return p.add("Conv2D", "Input", kernel, strides=[1, 1, 1, 1], padding="VALID", **NHWC)


def _of_two(op: str) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        other = _second(p, shape)
        return p.add(op, x, _positive(p, other) if op == "RealDiv" else other)

    return form


def _pooled_whole(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.window("AvgPool", x, (shape[1], shape[2]), 1, "VALID")


def _stretching(op: str, factors: str, first: bool = False) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        if factors == "of channels":
            small = p.add("Sigmoid", _pooled_whole(p, x, shape))
        else:
            small = p.add("Sigmoid", p.conv(x, shape, 1, 1, 1, "SAME")[0])  # type: ignore[arg-type]
        return p.add(op, *((small, x) if first else (x, small)))

    return form


def _conv(
    size: tuple[int, int], stride: int = 1, padding: str = "SAME", *, multiplier: int = 0, dilation: int = 1,
    pad: Optional[tuple[int, int]] = None, channels_first: bool = False,
) -> Form:  # fmt: skip
    """Depthwise with a multiplier; with ``pad`` behind a Pad of so many rows and columns on either side."""

    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        if pad is not None:
            amounts = np.array([(0, 0), (pad[0],) * 2, (pad[1],) * 2, (0, 0)], np.int32)
            x = p.add("Pad", x, p.const(amounts))
        kernel = p.const(p.numbers(*size, shape[3], multiplier or 4))
        op = "DepthwiseConv2dNative" if multiplier else "Conv2D"
        along = [1, 1, stride, stride] if channels_first else [1, stride, stride, 1]
        spread = [1, 1, dilation, dilation] if channels_first else [1, dilation, dilation, 1]
        window = {"strides": along, "padding": padding, "dilations": spread if dilation > 1 else None}
        given = {name: value for name, value in window.items() if value is not None}
        if not channels_first:
            return p.add(op, x, kernel, **given, **NHWC)
        return _back(p, p.add(op, _there(p, x), kernel, **given, data_format="NCHW"))

    return form


def _there(p: Picture, x: str) -> str:
    return p.add("Transpose", x, p.ints(0, 3, 1, 2))


def _back(p: Picture, x: str) -> str:
    return p.add("Transpose", x, p.ints(0, 2, 3, 1))


def _between_transposes(op: str, **attributes: object) -> Form:
    return lambda p, x, shape: _back(p, p.add(op, _there(p, x), **attributes, data_format="NCHW"))


def _batch_norm(channels_first: bool) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        parts = [p.const(np.abs(p.numbers(shape[3])) + np.float32(0.5)) for _ in range(4)]
        settings = {"epsilon": 1e-3, "is_training": False}
        if channels_first:
            return _back(p, p.add("FusedBatchNorm", _there(p, x), *parts, **settings, data_format="NCHW"))
        return p.add("FusedBatchNorm", x, *parts, **settings, **NHWC)

    return form


def _batch_norm_in_parts(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    """As TensorFlow 1 wrote it where it was not fused; NVIDIA's converter leaves it so."""
    gamma, beta, mean, variance = (p.const(np.abs(p.numbers(shape[3])) + np.float32(0.5)) for _ in range(4))
    scale = p.add("Mul", p.add("Rsqrt", p.add("Add", variance, p.const(np.float32(1e-3)))), gamma)
    return p.add("Add", p.add("Mul", x, scale), p.add("Sub", beta, p.add("Mul", mean, scale)))


def _pool(op: str, size: int, stride: int, padding: str) -> Form:
    return lambda p, x, shape: p.window(op, x, (size, size), stride, padding)


def _padded_pool(op: str) -> Form:
    """Behind a Pad, of numbers that are below zero."""

    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        low = p.add("Sub", x, p.const(np.float32(9)))
        padded = p.add("Pad", low, p.const(np.array([(0, 0), (1, 1), (1, 1), (0, 0)], np.int32)))
        return p.window(op, padded, (3, 3), 1, "VALID")

    return form


def _padded(*amounts: tuple[int, int]) -> Form:
    return lambda p, x, shape: p.add("Relu", p.add("Pad", x, p.const(np.array([(0, 0), *amounts], np.int32))))


def _deconv(size: int, padding: str) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        kernel = p.const(p.numbers(size, size, 4, shape[3]))
        grown = [2 * side + (size - 2 if padding == "VALID" else 0) for side in shape[1:3]]
        return p.add("Conv2DBackpropInput", p.ints(1, *grown, 4), kernel, x, strides=[1, 2, 2, 1],
                     padding=padding, **NHWC)  # fmt: skip

    return form


def _reduced(op: str, *axes: int, keep: bool = True) -> Form:
    return lambda p, x, shape: p.add(op, x, p.ints(*axes), keep_dims=keep)


def _beside_reduced(op: str, *axes: int) -> Form:
    return lambda p, x, shape: p.add("Sub", x, p.add(op, x, p.ints(*axes), keep_dims=True))


def _extreme(op: str, axis: int) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        found = p.add(op, x, p.const(np.array(axis, np.int32)))
        return _told(p, found, tuple(side for place, side in enumerate(shape) if place != axis))

    return form


def _joined(axis: int) -> Form:
    return lambda p, x, shape: p.add("ConcatV2", x, _second(p, shape), p.const(np.array(axis, np.int32)))


def _joined_heads(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.add("ConcatV2", p.flat(x, shape), p.flat(_second(p, shape), shape), p.const(np.array(1, np.int32)))  # type: ignore[arg-type]


def _reshaped(sizes: Callable[[int, int, int], tuple[int, ...]]) -> Form:
    return lambda p, x, shape: p.reshape(x, *sizes(*shape[1:4]))


def _there_and_back(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.reshape(p.reshape(x, shape[1] * shape[2], shape[3]), *shape[1:])


def _transposed(*order: int) -> Form:
    return lambda p, x, shape: p.add("Transpose", x, p.ints(*order))


def _softmax_of(*sizes: str) -> Form:
    def form(p: Picture, x: str, shape: tuple[int, ...]) -> str:
        letters = {"A": shape[1] * shape[2], "C": shape[3]}
        return p.add("Softmax", p.reshape(x, *(letters.get(word) or int(word) for word in sizes)) if sizes else x)

    return form


def _flattened(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    """Named as slim names it: that makes it a Flatten where a matrix product reads it."""
    to = p.ints(-1, int(np.prod(shape)))
    return p.sketch.add(f"{p.prefix}/flatten/Reshape", "Reshape", x, to)


def _flattened_and_reshaped(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.reshape(_flattened(p, x, shape), *shape[1:])


def _connected(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    weights = p.const(p.numbers(int(np.prod(shape)), 3))
    return p.add("MatMul", _flattened(p, x, shape), weights, transpose_a=False, transpose_b=False)


def _squeezed(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.add("Squeeze", p.reshape(x, shape[1] * shape[2], 1, shape[3]), squeeze_dims=[2])


def _squeezed_map(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.add("Squeeze", _pooled_whole(p, x, shape), squeeze_dims=[1, 2])


def _expanded(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    return p.add("ExpandDims", p.reshape(x, shape[1] * shape[2], shape[3]), p.const(np.array(2, np.int32)))


def _flatten_concat(p: Picture, x: str, shape: tuple[int, ...]) -> str:
    flat = [p.flat(one, shape) for one in (x, _second(p, shape))]  # type: ignore[arg-type]
    return p.add("FlattenConcat_TRT", *flat, axis_u_int=1, ignoreBatch_u_int=0)


FORMS: dict[str, tuple[Form, ...]] = {
    **{
        f"Activation {op.lower()}": (_plain(op),)
        for op in ("Relu", "Relu6", "Sigmoid", "Tanh", "Elu", "Selu", "Softsign", "Softplus")
    },
    "LeakyRelu": (_plain("LeakyRelu", alpha=0.125),),
    **{f"Unary {op.lower()}": (_plain(op),) for op in ("Neg", "Abs", "Square", "Ceil", "Floor")},
    **{f"Unary {op.lower()}": (_of(_positive, op),) for op in ("Log", "Sqrt", "Rsqrt", "Acosh")},
    **{
        f"Unary {op.lower()}": (_of(_small, op),)
        for op in ("Exp", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Atanh")
    },
    **{
        f"Binary {func} with a number": (
            *(_with_constant(op, size) for size in ("", "1", "1 1 1 1")),
            *((_with_constant(op, "", first=True), _behind_reshape(op)) if func in ("add", "mul") else ()),
        )
        for func, op in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "RealDiv"))
    },
    **{
        f"Binary {func} with a number per channel": (
            *(_with_constant(op, size) for size in ("C", "1 C", "1 1 C", "1 1 1 C")),
            *((_with_constant(op, "C", first=True),) if func in ("add", "mul") else ()),
        )
        for func, op in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "RealDiv"))
    },
    **{
        f"Binary {func} of two tensors": (_of_two(op),)
        for func, op in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"), ("div", "RealDiv"), ("min", "Minimum"),
                         ("max", "Maximum"))
    },
    **{
        f"Binary {func} that stretches a feature map": tuple(
            _stretching(op, factors, first) for factors in ("of channels", "of pixels") for first in (False, True)
        )
        for func, op in (("add", "Add"), ("sub", "Sub"), ("mul", "Mul"))
    },
    "Conv, same padding": (_conv((3, 3)), _conv((3, 3), 2), _conv((1, 1)), _conv((1, 1), 2), _conv((1, 3)),
                           _conv((3, 1)), _conv((2, 2), 2), _conv((5, 5))),
    "Conv, valid padding": (_conv((3, 3), 1, "VALID"), _conv((3, 3), 2, "VALID"), _conv((1, 1), 1, "VALID"),
                            _conv((2, 3), 1, "VALID")),
    "Conv, explicit padding": (_conv((3, 3), 2, "VALID", pad=(1, 1)), _conv((3, 3), 1, "VALID", pad=(2, 1))),
    "Conv, same padding, dilated": (_conv((3, 3), dilation=2),),
    "Conv, same padding, NC+": (_conv((3, 3), channels_first=True), _conv((3, 3), 2, channels_first=True)),
    "Conv, valid padding, NC+": (_conv((3, 3), 1, "VALID", channels_first=True),),
    "Conv, depthwise, same padding": (_conv((3, 3), multiplier=1), _conv((3, 3), 2, multiplier=1),
                                      _conv((5, 5), multiplier=1), _conv((1, 3), multiplier=1)),
    "Conv, depthwise, valid padding": (_conv((3, 3), 1, "VALID", multiplier=1),
                                       _conv((3, 3), 2, "VALID", multiplier=1)),
    "Conv, depthwise, explicit padding": (_conv((3, 3), 2, "VALID", multiplier=1, pad=(1, 1)),),
    "Conv, depthwise, same padding, dilated": (_conv((3, 3), multiplier=1, dilation=2),),
    "Conv, depthwise, same padding, NC+": (_conv((3, 3), multiplier=1, channels_first=True),),
    "Conv, depthwise, depth multiplier, same padding": (_conv((3, 3), multiplier=2), _conv((3, 3), 2, multiplier=3)),
    **{f"Binary {func} of constants": (_batch_norm_in_parts,) for func in ("add", "sub", "mul")},
    "BatchNorm": (_batch_norm(False),),
    "BatchNorm, NC+": (_batch_norm(True),),
    **{
        f"Pool {func}, {padding.lower()} padding": (
            _pool(op, 3, 2, padding), _pool(op, 2, 2, padding), _pool(op, 3, 1, padding), _pool(op, 1, 2, padding),
            *((_padded_pool(op),) if padding == "VALID" else ()),
        )
        for func, op in (("max", "MaxPool"), ("avg", "AvgPool"))
        for padding in ("SAME", "VALID")
    },
    **{
        f"Pool {func}, valid padding, NC+": (
            _between_transposes(op, ksize=[1, 1, 2, 2], strides=[1, 1, 2, 2], padding="VALID"),
        )
        for func, op in (("max", "MaxPool"), ("avg", "AvgPool"))
    },
    "Pad": (_padded((1, 1), (1, 1), (0, 0)), _padded((0, 1), (0, 1), (0, 0)), _padded((2, 1), (0, 3), (0, 0))),
    "Pad of channels": (_padded((0, 0), (0, 0), (0, 2)), _padded((1, 0), (0, 1), (1, 1))),
    "ConvTranspose, same padding": (_deconv(2, "SAME"), _deconv(3, "SAME")),
    "ConvTranspose, valid padding": (_deconv(2, "VALID"), _deconv(3, "VALID")),
    **{
        f"Reduce {op.lower()} over {', '.join(map(str, axes))}, dimensions kept": (
            _reduced(op, *axes), _beside_reduced(op, *axes)
        )
        for op in ("Mean", "Sum", "Prod", "Max", "Min")
        for axes in ((1, 2), (3,), (1,), (2,), (1, 2, 3))
        if (op, axes) != ("Mean", (1, 2))
    },
    **{
        f"Reduce {op.lower()} over {', '.join(map(str, axes))}": (_reduced(op, *axes, keep=False),)
        for op in ("Mean", "Max")
        for axes in ((1, 2), (3,))
    },
    **{f"{op}": (_extreme(op, 3), _extreme(op, 1)) for op in ("ArgMax", "ArgMin")},
    "Concat axis 1": (_joined(1), _joined_heads),
    "Concat axis 2": (_joined(2),),
    "Concat axis 3": (_joined(3), _joined(-1)),
    "Reshape": (
        *(
            _reshaped(sizes)
            for sizes in (
                lambda h, w, c: (h * w, c), lambda h, w, c: (h * w, 1, c), lambda h, w, c: (h * w * c,),
                lambda h, w, c: (1, 1, h * w * c), lambda h, w, c: (w, h, c), lambda h, w, c: (-1, c),
            )
        ),
        _there_and_back,
        _flattened_and_reshaped,
        _expanded,
    ),
    "Reshape to more than 4 dimensions": (_reshaped(lambda h, w, c: (h, 1, w, 1, c)),),
    **{
        f"Transpose to {', '.join(map(str, order))}": (_transposed(*order),)
        for order in ((0, 3, 1, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 1, 3, 2))
    },
    "Softmax, channels first": (_softmax_of(), _softmax_of("A", "1", "C"), _softmax_of("A", "C")),
    "Flatten": (_connected,),
    "FullyConnected": (_connected,),
    "Squeeze": (_squeezed, _squeezed_map),
    "_FlattenConcat_TRT": (_flatten_concat,),
}  # fmt: skip
