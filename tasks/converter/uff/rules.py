"""One rule per TensorFlow operation: the UFF operation it becomes, the inputs that stay, and its fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.graph import Graph, Node, TfShape, TfType, node_of
from jetlane.tasks.converter.graph.shape_ops import channels_first, spatial

#: numpy dtype -> TensorFlow DataType, for constants that rewrites made.
_TF_TYPES = {
    "float32": 1,
    "int32": 3,
    "int16": 5,
    "int8": 6,
    "int64": 9,
    "float16": 19,
    "uint8": 4,
    "bool": 10,
    "float64": 2,
}


class Orders(tuple[str, ...]):
    """Layouts of a node's inputs, such as ``("N+C", "+CK")``; stored once per file and referred to."""


@dataclass
class Emitted:
    """What a rule makes of a node.

    Attributes:
        inputs: Node ids, as they stand in the file.
        fields: Python values; :class:`Orders` and, for a Const, an ndarray under ``values``.
        first: Constants that are emitted just before this node, not by the traversal.
        follow: Nodes to convert next; the inputs, when not given.
    """

    operation: str
    inputs: list[str]
    fields: dict[str, Any] = field(default_factory=dict)
    first: list[Node] = field(default_factory=list)
    follow: Optional[list[str]] = None


def apply_rule(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    """The UFF form of a node.

    Args:
        inputs: Its inputs as node names, Identities already passed over.

    Raises:
        ConversionError: The operation cannot be expressed.
    """
    rule = _RULES.get(node.op)
    return rule(graph, node, inputs) if rule is not None else _custom(graph, node, inputs)


def _constant(graph: Graph, node: Node, name: str, role: str) -> np.ndarray[Any, Any]:
    source = graph[name]
    if source.op != "Const":
        raise ConversionError(
            f"the {role} of {node.op} {node.name!r} is not a constant",
            "UFF stores it as a field",
            "fold constants first",
        )
    return source.value


def _number(graph: Graph, node: Node, name: str, role: str) -> int:
    value = _constant(graph, node, name, role)
    if value.size != 1:
        raise ConversionError(f"the {role} of {node.op} {node.name!r} is not one number", "", "")
    return int(value.item())


def _layout(node: Node) -> str:
    return "NC+" if channels_first(node) else "N+C"


def _placeholder(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    shape = node.attr("shape")
    fields = {
        "shape": [int(size) for size in shape] if shape is not None else [],
        "dtype": node.attr("dtype", TfType(1)),
    }
    return Emitted("Input", [], fields, follow=inputs)


def _const(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    value = node.value
    if value.dtype == object:
        if value.size != 1:
            raise ConversionError(f"{node.name!r} is a tensor of strings", "UFF holds single strings alone", "")
        text: Any = value.reshape(()).item()
        return Emitted(
            "Const", [], {"shape": [], "dtype": TfType(7), "values": text.decode("utf-8", "replace")}, follow=inputs
        )
    dtype = node.attr("dtype") or TfType(_TF_TYPES.get(value.dtype.name, 1))
    return Emitted("Const", [], {"shape": list(value.shape), "dtype": dtype, "values": value}, follow=inputs)


def _window(graph: Graph, node: Node, data: str) -> tuple[str, dict[str, Any]]:
    """Strides and padding of a sliding window; a symmetric Pad in front of a convolution becomes its padding.

    A pooling's own padding is another thing: a maximum leaves it out, where the Pad's zeros count.
    """
    fields: dict[str, Any] = {"strides": list(spatial(node, "strides"))}
    padding = node.attr("padding", "VALID")
    if padding == "SAME":
        fields["implicit_padding"] = "same"
    elif (
        padding == "VALID"
        and _is_convolution(node)
        and graph[data].op == "Pad"
        and graph[graph[data].inputs[1]].op == "Const"
    ):
        pad = graph[data]
        amounts = graph[pad.inputs[1]].value
        if amounts.shape == (4, 2) and np.array_equal(amounts[:, 0], amounts[:, 1]):
            fields["padding"] = [int(a) for a in (amounts[2:, 0] if channels_first(node) else amounts[1:3, 0])]
            data = node_of(pad.inputs[0])
    elif padding != "VALID":
        raise ConversionError(
            f"{node.op} {node.name!r} has padding {padding!r}", "UFF knows SAME, VALID and symmetric paddings", ""
        )
    return data, fields


def _is_convolution(node: Node) -> bool:
    return node.op in ("Conv2D", "DepthwiseConv2dNative")


def _conv(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    data, fields = _window(graph, node, inputs[0])
    if node.attr("dilations"):
        fields["dilation"] = list(spatial(node, "dilations"))
    fields["inputs_orders"] = Orders((_layout(node), "+CK"))
    if node.op == "DepthwiseConv2dNative":
        fields["number_groups"] = int(_constant(graph, node, inputs[1], "kernel").shape[2])
    return Emitted("Conv", [data, inputs[1]], fields)


def _conv_transpose(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    fields: dict[str, Any] = {
        "strides": list(spatial(node, "strides")),
        "inputs_orders": Orders((_layout(node), "+KC")),
    }
    if node.attr("padding", "VALID") == "SAME":
        fields["implicit_padding"] = "same"
    return Emitted("ConvTranspose", [inputs[2], inputs[1], inputs[0]], fields)


def _pool(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    data, fields = _window(graph, node, inputs[0])
    fields.update(
        func="max" if node.op == "MaxPool" else "avg",
        kernel=list(spatial(node, "ksize")),
        inputs_orders=Orders((_layout(node),)),
    )
    return Emitted("Pool", [data], fields)


def _matmul(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    left = "CN" if node.attr("transpose_a", False) else "NC"
    right = "KC" if node.attr("transpose_b", False) else "CK"
    return Emitted("FullyConnected", inputs, {"inputs_orders": Orders((left, right))})


def _bias_add(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    bias = graph[inputs[1]].copy()
    if bias.op != "Const":
        return Emitted("Binary", inputs, {"func": "add"})
    if channels_first(node):
        bias = Node(bias.name, "Const", (), {"value": bias.value.reshape(-1, 1, 1), "dtype": bias.attr("dtype")})
    return Emitted("Binary", [inputs[0], bias.name], {"func": "add"}, first=[bias], follow=[inputs[0]])


def _batch_norm(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    fields = {"epsilon": float(node.attr("epsilon", 1e-3)), "inputs_orders": Orders((_layout(node),))}
    return Emitted("BatchNorm", inputs[:5], fields)


def _concat(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    axis = node.attr("axis")
    if axis is not None:
        return Emitted("Concat", inputs, {"axis": int(axis)})
    return Emitted("Concat", inputs[:-1], {"axis": _number(graph, node, inputs[-1], "axis")})


def _reshape(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("Flatten", inputs[:1]) if is_flatten(graph, node) else Emitted("Reshape", inputs)


def is_flatten(graph: Graph, node: Node) -> bool:
    """Whether a node is written as Flatten, without its shape: a Reshape of that name, as the original converter does.

    Only where a matrix product reads it: the parser leaves it in an order that others misread.
    """
    scope = node.name.rpartition("/")[0].rpartition("/")[2]
    if node.op != "Reshape" or "flatten" not in scope.lower():
        return False
    readers = graph.consumers(node.name)
    return bool(readers) and all(reader.op == "MatMul" for reader in readers)


def _squeeze(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("Squeeze", inputs, {"axes": list(node.attr("squeeze_dims") or node.attr("axis") or [])})


def _expand_dims(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("ExpandDims", inputs[:1], {"axis": _number(graph, node, inputs[1], "axis")})


def _transpose(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted(
        "Transpose", inputs[:1], {"permutation": [int(p) for p in _constant(graph, node, inputs[1], "permutation")]}
    )


def _pack(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("Stack", inputs, {"axis": int(node.attr("axis", 0))})


def _strided_slice(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    if node.attr("ellipsis_mask", 0) or node.attr("new_axis_mask", 0):
        raise ConversionError(f"StridedSlice {node.name!r} uses an ellipsis or a new axis", "UFF has neither", "")
    fields = {key: int(node.attr(key, 0)) for key in ("begin_mask", "end_mask", "shrink_axis_mask")}
    return Emitted("StridedSlice", inputs, fields)


def _softmax(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("Softmax", inputs, {"axis": 0, "inputs_orders": Orders((_layout(node),))})


def _reduce(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    axes = [int(axis) for axis in np.atleast_1d(_constant(graph, node, inputs[1], "axes"))]
    keep = bool(node.attr("keep_dims", node.attr("keepdims", False)))
    return Emitted("Reduce", inputs[:1], {"func": node.op.lower(), "axes": axes, "keepdims": keep})


def _leaky_relu(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted("LeakyRelu", inputs, {"alpha": float(node.attr("alpha", 0.2))})


def _arg(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    return Emitted(node.op, inputs[:1], {"axis": _number(graph, node, inputs[1], "axis")})


def _plain(operation: str, func: str = "") -> Rule:
    return lambda graph, node, inputs: Emitted(operation, inputs, {"func": func} if func else {})


def _custom(graph: Graph, node: Node, inputs: list[str]) -> Emitted:
    """Anything else, plugins above all: the operation with an underscore, and every attribute that is set."""
    fields: dict[str, Any] = {}
    for key in node.attr_names():
        value = node.any_attr(key)
        if isinstance(value, np.ndarray):
            raise ConversionError(f"{node.op} {node.name!r} has the tensor attribute {key!r}", "UFF cannot hold it", "")
        if isinstance(value, TfShape):
            value = list(value)
        if value is not None and value != []:
            fields[key] = value
    return Emitted(f"_{node.op}", inputs, fields)


Rule = Callable[[Graph, Node, list[str]], Emitted]

_BINARY = {
    "Add": "add",
    "AddV2": "add",
    "Sub": "sub",
    "Mul": "mul",
    "Div": "div",
    "RealDiv": "div",
    "Minimum": "min",
    "Maximum": "max",
}
_ACTIVATIONS = ["Relu", "Relu6", "Sigmoid", "Tanh", "Elu", "Selu", "Softsign", "Softplus"]
_UNARY = [
    "Neg",
    "Exp",
    "Log",
    "Abs",
    "Sqrt",
    "Rsqrt",
    "Square",
    "Sin",
    "Cos",
    "Tan",
    "Sinh",
    "Cosh",
    "Asin",
    "Acos",
    "Atan",
    "Asinh",
    "Acosh",
    "Atanh",
    "Ceil",
    "Floor",
]

_RULES: dict[str, Rule] = {
    "Placeholder": _placeholder,
    "Const": _const,
    "Identity": _plain("Identity"),
    "Conv2D": _conv,
    "DepthwiseConv2dNative": _conv,
    "Conv2DBackpropInput": _conv_transpose,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "MatMul": _matmul,
    "BiasAdd": _bias_add,
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "LeakyRelu": _leaky_relu,
    "ConcatV2": _concat,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "ExpandDims": _expand_dims,
    "Transpose": _transpose,
    "Pack": _pack,
    "Shape": _plain("Shape"),
    "StridedSlice": _strided_slice,
    "Pad": _plain("Pad"),
    "Softmax": _softmax,
    "ArgMax": _arg,
    "ArgMin": _arg,
    **dict.fromkeys(("Mean", "Sum", "Prod", "Max", "Min"), _reduce),
    **{op: _plain("Binary", func) for op, func in _BINARY.items()},
    **{op: _plain("Activation", op.lower()) for op in _ACTIVATIONS},
    **{op: _plain("Unary", op.lower()) for op in _UNARY},
}
