"""A UFF graph in memory: the message, and a plain view of its nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.graph import TfType
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.uff.schema import DATA_TYPES, NUMPY_DTYPES, OTHER_DATA_TYPE, message_class

#: What was run of a pattern: TensorRT's engine was right on a GPU, and every parser before read it rightly; the parsers
#: alone; read rightly by some versions, not by others; nothing.
RAN, PARSED, PARTLY, UNPROVEN = "ran", "parsed", "partly", "unproven"

#: Prefix of the keys under which weights and dimension orders are stored.
WEIGHTS, ORDERS = "weights_", "orders_"


@dataclass(frozen=True)
class Evidence:
    """What speaks for an operation or pattern being read by the real parser as it is meant.

    Attributes:
        pattern: The operation, with what is particular about its use.
        status: ``ran``, ``parsed``, ``partly`` or ``unproven``.
        nodes: Ids of the nodes concerned.
        reason: Which versions read it as it is meant, and which do not.
        not_on: The versions, as ``evidence.VERSIONS`` has them, that are known to refuse or misread it.
    """

    pattern: str
    status: str
    nodes: tuple[str, ...]
    reason: str
    not_on: tuple[str, ...] = ()


@dataclass(frozen=True)
class UffNode:
    """One node, with its fields as Python values.

    Attributes:
        fields: ``i`` -> int, ``d`` -> float, ``b`` -> bool, ``s`` -> str, lists -> list; ``dtype`` -> the name of the
            DataType; ``inputs_orders`` -> its layouts, such as ``("N+C", "+CK")``; ``values`` of a Const -> ndarray.
    """

    id: str
    operation: str
    inputs: tuple[str, ...]
    fields: dict[str, Any]


@dataclass
class Uff:
    """A UFF file's content.

    Attributes:
        message: The ``MetaGraph`` message.
        evidence: What the writer knows of the operations it used; empty for a file that was read.
        rewrites: What was done to the frozen graph on the way; empty likewise.
    """

    message: Any
    evidence: tuple[Evidence, ...] = ()
    rewrites: tuple[Applied, ...] = ()
    _nodes: Optional[list[UffNode]] = field(default=None, repr=False)

    @property
    def nodes(self) -> list[UffNode]:
        """All nodes, in the file's order.

        Raises:
            ConversionError: The file refers to data it does not hold, or holds what cannot be understood.
        """
        if self._nodes is None:
            graphs = self.message.graphs
            if len(graphs) != 1:
                raise ConversionError(
                    f"the UFF file holds {len(graphs)} graphs", "a UFF file holds exactly one", "convert again"
                )
            self._nodes = [self._view(node) for node in graphs[0].nodes]
        return self._nodes

    def node(self, name: str) -> UffNode:
        """A node by its id.

        Raises:
            ConversionError: No such node.
        """
        for node in self.nodes:
            if node.id == name:
                return node
        raise ConversionError(f"the UFF graph has no node {name!r}")

    @property
    def unproven(self) -> tuple[Evidence, ...]:
        return tuple(item for item in self.evidence if item.status == UNPROVEN)

    def _view(self, node: Any) -> UffNode:
        fields = {key: self._plain(node.id, key, data) for key, data in node.fields.items()}
        if node.operation == "Const" and isinstance(fields.get("values"), bytes):
            fields["values"] = _array(node.id, fields)
        return UffNode(node.id, node.operation, tuple(node.inputs), fields)

    def _plain(self, node: str, key: str, data: Any) -> Any:
        kind = data.WhichOneof("data_oneof")
        if kind == "ref":
            if data.ref not in self.message.referenced_data:
                raise ConversionError(
                    f"node {node!r} refers to {data.ref!r}, which the file does not hold",
                    "the file is damaged",
                    "convert again",
                )
            if data.ref.startswith(ORDERS):
                return tuple(data.ref[len(ORDERS) :].split("_"))
            return self._plain(node, key, self.message.referenced_data[data.ref])
        if kind is None:
            return None
        value = getattr(data, kind)
        if kind == "dtype":
            return type_name(value)
        if kind == "dtype_list":
            return [type_name(item) for item in value.val]
        return list(value.val) if kind.endswith("_list") and kind != "dim_orders_list" else value


def type_name(number: int) -> str:
    """DT_FLOAT32, ...; DT_INVALID for a number outside the table."""
    return next((name for name, value in DATA_TYPES.items() if value == number), "DT_INVALID")


def _array(node: str, fields: dict[str, Any]) -> np.ndarray[Any, Any]:
    name, shape = fields.get("dtype"), fields.get("shape", [])
    dtype = NUMPY_DTYPES.get(DATA_TYPES[name]) if isinstance(name, str) and name in DATA_TYPES else None
    sizes = isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape)
    if dtype is None or not sizes or prod(shape) * np.dtype(dtype).itemsize != len(fields["values"]):
        raise ConversionError(
            f"constant {node!r} holds {len(fields['values'])} bytes for {name} {shape}",
            "the file is damaged, or a text dump, whose weights are left out",
            "convert again",
        )
    return np.frombuffer(fields["values"], dtype).reshape(shape)


def to_data(value: Any) -> Any:
    """A Python value as a ``Data`` message; None for an empty list of unknown kind.

    A TensorFlow data type becomes the UFF one, a numpy float its exact double.
    """
    data = message_class("Data")()
    if isinstance(value, TfType):
        data.dtype = uff_type(value)
    elif isinstance(value, bool):
        data.b = value
    elif isinstance(value, (int, np.integer)):
        data.i = int(value)
    elif isinstance(value, (float, np.floating)):
        data.d = float(value)
    elif isinstance(value, str):
        data.s = value
    elif isinstance(value, bytes):
        data.blob = value
    else:
        _fill_list(data, list(value))
    return data


def _fill_list(data: Any, values: list[Any]) -> None:
    first = values[0] if values else 0
    if isinstance(first, TfType):
        data.dtype_list.val.extend(uff_type(value) for value in values)
    elif isinstance(first, bool):
        data.b_list.val.extend(values)
    elif isinstance(first, str):
        data.s_list.val.extend(values)
    elif any(isinstance(value, (float, np.floating)) for value in values):
        data.d_list.val.extend(float(value) for value in values)
    else:
        data.i_list.SetInParent()
        data.i_list.val.extend(int(value) for value in values)


#: TensorFlow's DataType -> UFF's.
_FROM_TENSORFLOW = {1: "DT_FLOAT32", 3: "DT_INT32", 5: "DT_INT16", 6: "DT_INT8", 9: "DT_INT64", 19: "DT_FLOAT16"}


def uff_type(tf_type: int) -> int:
    """UFF's number of a TensorFlow DataType; 7 where UFF has none, as the original converter writes."""
    name = _FROM_TENSORFLOW.get(int(tf_type))
    return DATA_TYPES[name] if name else OTHER_DATA_TYPE
