"""Stands in for ``tensorflow`` while a graph surgery script runs: data types, messages, graphs that hold them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from jetlane.tasks.converter.dropin.absent import Anything
from jetlane.tasks.converter.dropin.messages import DATA_TYPES, tensor_proto, type_number
from jetlane.tasks.converter.dropin.running import running
from jetlane.tasks.converter.dropin.tensorflow_graph import (
    Graph,
    get_default_graph,
    gfile,
    import_graph_def,
    reset_default_graph,
)
from jetlane.tasks.converter.graph.protos import tensorflow_message

#: The last TensorFlow that NVIDIA's tools were made for.
__version__ = VERSION = "1.15.5"
#: So that ``import tensorflow.compat.v1 as tf`` is answered.
__path__: list[str] = []

__all__ = ["Graph", "get_default_graph", "gfile", "import_graph_def", "reset_default_graph"]

io, platform = SimpleNamespace(gfile=gfile), SimpleNamespace(gfile=gfile)
#: Scripts turn TensorFlow's messages off; here there are none.
logging = Anything("tensorflow.logging")

#: Calls that set up TensorFlow, of which there is nothing to set up.
_SWITCHES = ("disable_eager_execution", "disable_v2_behavior", "enable_resource_variables", "get_logger")
_SESSIONS = ("ConfigProto", "GPUOptions", "Session")
_MESSAGES = ("AttrValue", "GraphDef", "NodeDef", "TensorProto", "TensorShapeProto")


class DType:
    """One of TensorFlow's data types, such as ``tf.float32``.

    Attributes:
        name: ``float32``.
        as_datatype_enum: Its number in TensorFlow's messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.as_datatype_enum, self._numpy_name = DATA_TYPES[name]

    @property
    def as_numpy_dtype(self) -> Any:
        """The numpy scalar type; ``object`` where numpy has none."""
        import numpy as np

        return np.dtype(self._numpy_name).type if self._numpy_name else object

    def __int__(self) -> int:
        return self.as_datatype_enum

    def __eq__(self, other: object) -> bool:
        number = getattr(other, "as_datatype_enum", other)
        return number == self.as_datatype_enum or number == self.name

    def __hash__(self) -> int:
        return hash(self.as_datatype_enum)

    def __repr__(self) -> str:
        return f"tf.{self.name}"


_TYPES = {name: DType(name) for name in DATA_TYPES}
_TYPES.update(half=_TYPES["float16"], double=_TYPES["float64"])


def as_dtype(value: Any) -> DType:
    """The data type of a number, a name or a numpy dtype."""
    number = type_number(value)
    return next(dtype for dtype in _TYPES.values() if dtype.as_datatype_enum == number)


def make_tensor_proto(values: Any, dtype: Any = None, shape: Any = None, verify_shape: bool = False) -> Any:
    """A TensorProto of an array or of nested lists."""
    import numpy as np

    array = np.asarray(values)
    if dtype is None and array.dtype.kind in "fi" and not isinstance(values, (np.ndarray, np.generic)):
        array = array.astype("float32" if array.dtype.kind == "f" else "int32")  # as TensorFlow takes Python's numbers
    if shape is not None:
        array = np.broadcast_to(array, shape) if array.size == 1 else array.reshape(shape)
    return tensor_proto(array, type_number(dtype) if dtype is not None else 0)


def __getattr__(name: str) -> Any:
    if name in _TYPES:
        return _TYPES[name]
    if name in _MESSAGES:
        return tensorflow_message(name)
    if name in _SWITCHES:
        return Anything(f"tensorflow.{name}")
    if name in _SESSIONS and running() is not None:  # scripts open one around an export
        return Anything(f"tensorflow.{name}")
    raise AttributeError(
        f"tensorflow.{name} is not there: this is jetlane's stand-in for TensorFlow, which gives graph surgery scripts "
        "data types, make_tensor_proto and the GraphDef messages"
    )
