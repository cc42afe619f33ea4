"""TensorFlow's messages as scripts make and edit them: NodeDef, GraphDef, AttrValue, TensorProto."""

from __future__ import annotations

from typing import Any

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.protos import tensorflow_message

#: TensorFlow's DataType: name -> (number, numpy's name; None where numpy has no such type).
DATA_TYPES = {
    "float32": (1, "float32"),
    "float64": (2, "float64"),
    "int32": (3, "int32"),
    "uint8": (4, "uint8"),
    "int16": (5, "int16"),
    "int8": (6, "int8"),
    "string": (7, None),
    "int64": (9, "int64"),
    "bool": (10, "bool"),
    "bfloat16": (14, None),
    "uint16": (17, "uint16"),
    "float16": (19, "float16"),
    "uint32": (22, "uint32"),
    "uint64": (23, "uint64"),
}
_NUMBERS = {numpy_name: number for number, numpy_name in DATA_TYPES.values() if numpy_name}


def type_number(dtype: Any) -> int:
    """TensorFlow's DataType number of a ``tf.DType``, a number, a numpy dtype or a name.

    Raises:
        GraphError: It is none of them.
    """
    number = getattr(dtype, "as_datatype_enum", dtype)
    if isinstance(number, (int, np.integer)):
        return int(number)
    if isinstance(number, str) and number in DATA_TYPES:
        return DATA_TYPES[number][0]
    try:
        return _NUMBERS[np.dtype(number).name]
    except (TypeError, KeyError):
        known = ", ".join(f"tf.{name}" for name in DATA_TYPES)
        raise GraphError(f"{dtype!r} is no data type of TensorFlow", "", f"give one of {known}") from None


def tensor_proto(array: Any, number: int = 0) -> Any:
    """A TensorProto of an array; of another DataType where ``number`` names one.

    Raises:
        GraphError: TensorFlow has no such data type.
    """
    values = np.asarray(array)
    wanted = number or type_number(values.dtype)
    numpy_name = next((name for known, name in DATA_TYPES.values() if known == wanted), None)
    if numpy_name is None:
        raise GraphError(f"a constant of TensorFlow's data type {wanted} cannot be made", "numpy has no such type", "")
    values = values.astype(np.dtype(numpy_name).newbyteorder("<"))
    proto = tensorflow_message("TensorProto")(dtype=wanted, tensor_content=np.ascontiguousarray(values).tobytes())
    proto.tensor_shape.SetInParent()
    for size in values.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto
