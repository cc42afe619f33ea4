"""A small writer of ONNX graphs: fresh names, shared constants, one opset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

#: Every ONNX file of this project. onnxruntime 1.10, the last for Python 3.6, reads nothing newer than IR version 8.
OPSET = 13
IR_VERSION = 8

Array = np.ndarray[Any, Any]


class Builder:
    """Nodes in the order they are made, which is the order they run in."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._initializers: list[Any] = []
        self._names: set[str] = set()

    def op(self, kind: str, *inputs: str, name: str = "", output: Optional[str] = None, **attributes: Any) -> str:
        """Add a node with one output and return the output's name.

        Args:
            inputs: Names of tensors; "" for an optional input left out.
            name: What the output is called, made unique.
            output: The output's exact name, for the outputs of the graph.
        """
        return self.ops(kind, *inputs, names=(output or self.fresh(name or kind),), **attributes)[0]

    def ops(self, kind: str, *inputs: str, names: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Add a node with the given outputs."""
        from onnx import helper

        self._nodes.append(helper.make_node(kind, list(inputs), list(names), name=names[0], **attributes))
        return names

    def constant(self, value: Any, name: str = "constant") -> str:
        """The name of an initializer with this value; equal values share one."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.fresh(name)
            self._initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """An int64 vector."""
        return self.constant(np.array(values, np.int64), "ints")

    def fresh(self, name: str) -> str:
        """``name``, with a number where it is taken."""
        candidate, count = name, 1
        while candidate in self._names:
            candidate = f"{name}_{count}"
            count += 1
        self._names.add(candidate)
        return candidate

    def model(
        self,
        name: str,
        inputs: Mapping[str, tuple[Any, Sequence[int]]],
        outputs: Mapping[str, tuple[Any, Sequence[int]]],
    ) -> Any:
        """The finished ``onnx.ModelProto``; inputs and outputs as {name: (numpy dtype, shape)}."""
        from onnx import helper

        def infos(tensors: Mapping[str, tuple[Any, Sequence[int]]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(tensor, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))
                for tensor, (dtype, shape) in tensors.items()
            ]

        graph = helper.make_graph(self._nodes, name, infos(inputs), infos(outputs), self._initializers)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="jetlane"
        )
