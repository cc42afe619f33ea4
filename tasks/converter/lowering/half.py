"""The same network computing in half precision, for TensorRT 11 and later, where the model alone says how to compute.

Everything up to the last convolution becomes fp16, weights included. What follows, the decoding of boxes and the
scores, costs nothing and stays fp32: half a bit of a box coordinate would show. So do inputs and outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.last_convolutions import HEAVY, feeding

#: What is not a float like the data: {operator: positions of such inputs}.
_APART = {"Resize": (1, 2)}
#: Types of their own stand in their attributes.
_TYPED = ("Cast", "Constant", "ConstantOfShape")
_LARGEST = float(np.finfo(np.float16).max)


def to_half(model: Any) -> Any:
    """A copy of a model that ends at boxes and scores, in half precision.

    Args:
        model: ``onnx.ModelProto`` with float32 inputs, outputs and weights, as ``lower`` makes it.

    Raises:
        ConversionError: A weight is too large for fp16, or an operator fixes its own type.
    """
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    inside = [feeds or node.op_type in HEAVY for node, feeds in zip(graph.node, feeding(graph.node))]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    types = _types(model)
    casts = _Casts(types)
    nodes: list[Any] = []
    for node, half in zip(graph.node, inside):
        if half and node.op_type in _TYPED:
            raise ConversionError(f"{node.op_type} {node.name!r} fixes its own type", "it cannot be put into fp16")
        for position, name in enumerate(node.input):
            if types.get(name) != onnx.TensorProto.FLOAT or position in _APART.get(node.op_type, ()):
                continue
            if name in weights:
                node.input[position] = casts.weight(weights[name]) if half else name
            else:
                node.input[position] = casts.value(name, half, nodes)
        nodes.append(node)
        if half:
            casts.half.update(node.output)
    casts.outputs(graph, nodes)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(casts.weights.values())
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return made


def _types(model: Any) -> dict[str, int]:
    """Element type of every tensor."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {info.name: info.type.tensor_type.elem_type for info in [*graph.input, *graph.value_info, *graph.output]}
    return {**types, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


class _Casts:
    """Values and weights in their other precision, each made once.

    Attributes:
        half: Names of values that are fp16.
        weights: By the fp32 weight's name.
    """

    def __init__(self, types: dict[str, int]) -> None:
        self._types = types
        self._made: dict[str, str] = {}
        self.half: set[str] = set()
        self.weights: dict[str, Any] = {}

    def weight(self, tensor: Any) -> str:
        from onnx import numpy_helper

        if tensor.name not in self.weights:
            values = numpy_helper.to_array(tensor)
            if values.size and np.abs(values).max() > _LARGEST:
                raise ConversionError(
                    f"the weight {tensor.name!r} reaches {np.abs(values).max():g}",
                    f"fp16 ends at {_LARGEST:g}",
                    "build with fp32",
                )
            self.weights[tensor.name] = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half")
        return str(self.weights[tensor.name].name)

    def value(self, name: str, half: bool, nodes: list[Any]) -> str:
        """A value's name in the precision a node computes in, with the Cast that makes it where there is none yet."""
        from onnx import TensorProto, helper

        if (name in self.half) == half:
            return name
        if name not in self._made:
            self._made[name] = f"{name}_{'half' if half else 'single'}"
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            nodes.append(helper.make_node("Cast", [name], [self._made[name]], name=self._made[name], to=kind))
        return self._made[name]

    def outputs(self, graph: Any, nodes: list[Any]) -> None:
        """Outputs that a convolution gives itself, in fp32 again, under their own names."""
        from onnx import TensorProto, helper

        for output in graph.output:
            if output.name in self.half:
                inner = f"{output.name}_half"
                for node in nodes:
                    node.input[:] = [inner if name == output.name else name for name in node.input]
                    node.output[:] = [inner if name == output.name else name for name in node.output]
                nodes.append(helper.make_node("Cast", [inner], [output.name], name=output.name, to=TensorProto.FLOAT))
