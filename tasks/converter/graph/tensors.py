"""TensorProto -> numpy, in every form a frozen graph stores its constants."""

from __future__ import annotations

from math import prod
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError

#: Numbers that the constants of a graph may claim beyond those they hold: a few bytes can claim any shape.
MOST_CLAIMED = 1 << 22

#: TensorFlow's DataType number -> (numpy dtype of the stored form, field of TensorProto).
_STORED: dict[int, tuple[np.dtype[Any], str]] = {
    1: (np.dtype("<f4"), "float_val"),
    2: (np.dtype("<f8"), "double_val"),
    3: (np.dtype("<i4"), "int_val"),
    4: (np.dtype("u1"), "int_val"),
    5: (np.dtype("<i2"), "int_val"),
    6: (np.dtype("i1"), "int_val"),
    9: (np.dtype("<i8"), "int64_val"),
    10: (np.dtype("?"), "bool_val"),
    14: (np.dtype("<u2"), "half_val"),  # bfloat16: the upper half of a float32
    17: (np.dtype("<u2"), "int_val"),
    19: (np.dtype("<f2"), "half_val"),
    22: (np.dtype("<u4"), "uint32_val"),
    23: (np.dtype("<u8"), "uint64_val"),
}
_STRING, _BFLOAT16, _HALF = 7, 14, 19


def numpy_dtype(tf_type: int) -> Optional[np.dtype[Any]]:
    """The numpy dtype of a TensorFlow DataType number; None for strings, resources and the like."""
    if tf_type == _BFLOAT16:
        return np.dtype(np.float32)
    found = _STORED.get(tf_type)
    return found[0] if found else None


def to_numpy(proto: Any, name: str = "") -> np.ndarray[Any, Any]:
    """The values of a TensorProto, broadcast to its shape where a single value is stored.

    Args:
        proto: ``tensorflow.TensorProto``.
        name: The node, for messages.

    Returns:
        An array of the tensor's own dtype (bfloat16 as float32, strings as objects), C order.

    Raises:
        GraphError: The tensor is of an unreadable dtype, or has values that do not fill its shape.
    """
    shape = tuple(int(dim.size) for dim in proto.tensor_shape.dim)
    count = prod(shape)
    if min(shape, default=0) < 0 or claimed(proto) > MOST_CLAIMED:
        raise GraphError(
            f"constant {name!r} claims the shape {list(shape)}", "the file is damaged", "export the graph again"
        )
    if proto.dtype == _STRING:
        values: np.ndarray[Any, Any] = np.array(list(proto.string_val), dtype=object)
    elif proto.dtype in _STORED:
        values = _numbers(proto)
    else:
        raise GraphError(
            f"constant {name!r} has TensorFlow data type {proto.dtype}",
            "numbers and strings are read, nothing else",
            "",
        )
    if values.size == count:
        return values.reshape(shape)
    if 0 < values.size < count:  # trailing values equal to the last one are left out
        filled = np.empty(count, values.dtype)
        filled[: values.size] = values
        filled[values.size :] = values[-1]
        return filled.reshape(shape)
    if values.size == 0 and proto.dtype != _STRING:  # an all-zero tensor may be stored without any value
        return np.zeros(shape, values.dtype)
    raise GraphError(
        f"constant {name!r} holds {values.size} values for the shape {list(shape)}",
        "the file is damaged or was cut short",
        "export the graph again",
    )


def claimed(proto: Any) -> int:
    """How many numbers a TensorProto's shape asks for beyond those it holds."""
    if proto.tensor_content:  # cut short, it is filled up all the same
        held = len(proto.tensor_content) // (_STORED[proto.dtype][0].itemsize if proto.dtype in _STORED else 1)
    else:
        held = len(getattr(proto, _STORED[proto.dtype][1])) if proto.dtype in _STORED else 0
    return prod(int(dim.size) for dim in proto.tensor_shape.dim) - held


def _numbers(proto: Any) -> np.ndarray[Any, Any]:
    dtype, field = _STORED[proto.dtype]
    if proto.tensor_content:
        content = proto.tensor_content
        values = np.frombuffer(content[: len(content) - len(content) % dtype.itemsize], dtype)
    elif field == "half_val":
        values = (
            np.array(getattr(proto, field), np.int64)
            .astype(np.uint16)
            .view(np.float16 if proto.dtype == _HALF else np.uint16)
        )
    else:
        values = np.array(getattr(proto, field)).astype(dtype)
    if proto.dtype == _BFLOAT16:
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values
