"""Free-standing nodes: graphsurgeon's ``create_node``, ``create_plugin_node`` and ``update_node``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.dropin.messages import tensor_proto, type_number
from jetlane.tasks.converter.graph.protos import tensorflow_message


def create_node(name: str, op: Optional[str] = None, trt_plugin: bool = False, **kwargs: Any) -> Any:
    """A free-standing ``NodeDef``.

    Args:
        op: The operation; the name, where it is not given.
        trt_plugin: Write attributes as TensorRT's plugins are given them: see :func:`create_plugin_node`.
        **kwargs: ``dtype``, ``shape`` and ``inputs`` (nodes or names); anything else becomes an attribute: int, float,
            bool, str, a list of ints or floats, or a numpy array, which becomes the node's ``value``.

    Raises:
        GraphError: An attribute of another kind.
    """
    return update_node(tensorflow_message("NodeDef")(), name, op or name, trt_plugin, **kwargs)


def create_plugin_node(name: str, op: Optional[str] = None, **kwargs: Any) -> Any:
    """A free-standing ``NodeDef`` for a TensorRT plugin.

    The UFF parser recognises the kinds of a plugin's fields by suffixes of their names, which are added here:
    ``minSize=0.2`` becomes ``minSize_u_float``.
    """
    return create_node(name, op, True, **kwargs)


def update_node(
    node: Any, name: Optional[str] = None, op: Optional[str] = None, trt_plugin: bool = False, **kwargs: Any
) -> Any:
    """Change a node in place: its name, operation and attributes, and all its inputs when ``inputs`` is given.

    Returns:
        The node.
    """
    if name is not None:
        node.name = name
    if op is not None:
        node.op = op
    for key, value in kwargs.items():
        if key == "dtype":
            node.attr["dtype"].type = type_number(value)
        elif key == "shape":
            _set_shape(node.attr["shape"], value)
        elif key == "inputs":
            node.input[:] = names_of(value)
        elif isinstance(value, np.ndarray) or (key == "value" and node.op == "Const"):
            number = type_number(kwargs["dtype"]) if "dtype" in kwargs else 0
            number = number or (node.attr["dtype"].type if "dtype" in node.attr else 0)
            node.attr["value"].tensor.CopyFrom(tensor_proto(_array(value), number))
        else:
            value = value.item() if isinstance(value, np.generic) else value
            if trt_plugin and isinstance(value, (list, tuple)):
                value = _flat(value)
            _set(node, key + (suffix(value) if trt_plugin else ""), value)
    return node


def names_of(nodes: Any) -> list[str]:
    """Names of nodes: one node or name, or a collection of them, mixed as one likes."""
    if isinstance(nodes, str) or hasattr(nodes, "name"):
        nodes = [nodes]
    return [node if isinstance(node, str) else str(node.name) for node in nodes]


def copy_node(node: Any) -> Any:
    """A copy of a NodeDef, which may be of another TensorFlow's class."""
    return tensorflow_message("NodeDef").FromString(node.SerializeToString())


def suffix(value: Any) -> str:
    """How a plugin's field says its kind to the UFF parser; a bool is an int, as all public SSD files have it."""
    if isinstance(value, int):
        return "_u_int"
    if isinstance(value, float):
        return "_u_float"
    if isinstance(value, str):
        return "_u_str"
    return "_u_flist" if any(isinstance(item, (float, np.floating)) for item in value) else "_u_ilist"


def _array(value: Any) -> Any:
    """An array; of Python's numbers one of float32 or int32, as TensorFlow makes it."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value
    array = np.asarray(value)
    return array.astype({"f": "float32", "i": "int32"}.get(array.dtype.kind, array.dtype))


def _flat(values: Iterable[Any]) -> list[Any]:
    """Plugins take plain lists: pairs, as people write the shapes of feature maps, are laid out one after another."""
    return [part for item in values for part in (item if isinstance(item, (list, tuple)) else (item,))]


def _set_shape(attribute: Any, sizes: Iterable[Any]) -> None:
    attribute.Clear()
    attribute.shape.SetInParent()
    for size in sizes:
        attribute.shape.dim.add(size=-1 if size is None else int(size))


def _set(node: Any, key: str, value: Any) -> None:
    attribute = node.attr[key]
    attribute.Clear()
    if isinstance(value, int):
        attribute.i = int(value)
    elif isinstance(value, float):
        attribute.f = value
    elif isinstance(value, (str, bytes)):
        attribute.s = value.encode() if isinstance(value, str) else value
    elif isinstance(value, (list, tuple)) and all(isinstance(item, (int, float, np.number)) for item in value):
        attribute.list.SetInParent()
        numbers = attribute.list.f if suffix(value) == "_u_flist" else attribute.list.i
        numbers.extend(item.item() if isinstance(item, np.generic) else item for item in value)
    else:
        raise GraphError(
            f"node {node.name!r} cannot have the attribute {key}={value!r}",
            "attributes are int, float, bool, str, lists of ints or floats, and numpy arrays",
            "give one of these",
        )
