"""What TensorFlow itself gives for a graph, one operation after another."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jetlane.tasks.converter.graph.graph import Graph, Node, TfShape, TfType

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

#: The layout in which TensorFlow computes on a CPU.
_LAST = "NHWC"


def run(graph: Graph, feeds: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of the wanted nodes, computed in float32.

    Args:
        feeds: Values of the placeholders, in TensorFlow's order: NHWC.
    """
    values: dict[str, Any] = dict(feeds)
    todo = list(wanted)
    while todo:
        node = graph[todo[-1]]
        missing = [name for name in node.inputs if name not in values]
        if node.name in values or not missing:
            todo.pop()
        if node.name not in values and not missing:
            values[node.name] = _value(node, [values[name] for name in node.inputs])
        todo += missing
    return {name: np.asarray(values[name]) for name in wanted}


def _value(node: Node, inputs: list[Any]) -> Any:
    import tensorflow as tf
    from tensorflow.python.framework import op_def_registry

    if node.op == "Const":
        return tf.constant(node.value)
    if node.op == "FlattenConcat_TRT":
        return tf.reshape(tf.concat([tf.reshape(one, [-1]) for one in inputs], 0), [1, -1, 1, 1])
    attributes = {key: _plain(node.any_attr(key)) for key in node.attr_names() if key != "T"}
    turned = attributes.pop("data_format", _LAST) == "NCHW"
    if turned:  # the CPU has no kernels for it
        inputs = [tf.transpose(inputs[0], (0, 2, 3, 1)), *inputs[1:]]
        for key in ("strides", "dilations", "ksize"):
            if key in attributes:
                attributes[key] = [attributes[key][axis] for axis in (0, 2, 3, 1)]
    function, definition = getattr(tf.raw_ops, node.op), op_def_registry.get(node.op)
    first = definition.input_arg[0].name if definition.input_arg[0].number_attr else None
    names = list(inspect.signature(function).parameters)[: len(definition.input_arg)]
    if first is not None:  # a list and what stands behind it
        many = len(inputs) - len(names) + 1
        inputs = [inputs[:many], *inputs[many:]]
    if "squeeze_dims" in attributes:
        attributes["axis"] = attributes.pop("squeeze_dims")
    known = inspect.signature(function).parameters
    found = function(**dict(zip(names, inputs)), **{key: one for key, one in attributes.items() if key in known})
    found = found[0] if isinstance(found, tuple) else found
    return tf.transpose(found, (0, 3, 1, 2)) if turned else found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (TfShape, tuple)) else int(value) if isinstance(value, TfType) else value
