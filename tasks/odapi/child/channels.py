"""Which channels of a network's variables go together, read from its graph.

A channel of a convolution is also one of its batch norm, of the depthwise convolution that follows, of every input that
reads it, and, where feature maps are added, of what it is added to. Tensors carry labels, one for each channel of their
last axis; an operation that needs two channels to be the same joins their labels. What is left in the end are sets of
places, (variable, axis, index), that can be removed together only: units.

Layers are not known by their names. An operation that is not known ends the tracing: what it reads must stay whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

#: Labels of a tensor's last axis; None: it is not traced, or has no channels.
Labels = Optional[Any]

#: Each output value depends on the same channel of the first input alone, as long as the last axis keeps its size.
_BY_CHANNEL = {
    *("Identity", "ReadVariableOp", "StopGradient", "Cast", "Relu", "Relu6", "Elu", "Selu", "LeakyRelu", "Softplus"),
    *("Sigmoid", "Tanh", "Exp", "Neg", "Sqrt", "Rsqrt", "Square", "Reciprocal", "MaxPool", "AvgPool", "Pad", "PadV2"),
    *("MirrorPad", "ResizeBilinear", "ResizeNearestNeighbor", "SpaceToBatchND", "BatchToSpaceND", "Mean", "Max", "Min"),
    *("Sum", "Reshape", "Squeeze", "ExpandDims", "StridedSlice", "Slice", "Tile"),
}
#: The same of all their inputs, which are broadcast.
_ELEMENTWISE = {
    *("Add", "AddV2", "AddN", "BiasAdd", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference"),
}
_BATCH_NORM = {"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"}
_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
_VARIABLES = {"Variable", "VariableV2", "VarHandleOp"}
#: They read the size of a tensor, which is another one in the network that is built narrower.
_SIZES = {"Shape", "ShapeN", "Size", "Rank"}


class Group(NamedTuple):
    """Units that lie in the same axes of the same variables, such as the outputs of one layer.

    Attributes:
        units: int [units], labels.
        places: (variable, axis) -> int [units], where each unit lies in it.
        producers: Kernels of the convolutions that make these channels; they lie in their last axis.
    """

    units: Any
    places: dict[tuple[str, int], Any]
    producers: tuple[str, ...]


class Channels:
    """The channels of a graph.

    Args:
        outputs: Tensors that must keep their channels.
    """

    def __init__(self, outputs: Sequence[Any]) -> None:
        self._parent: list[int] = []
        self._axes: dict[tuple[str, int], Any] = {}
        self._shapes: dict[str, list[int]] = {}
        self._kernels: dict[str, None] = {}
        self._labels: dict[str, Labels] = {}
        self._variable_of: dict[str, str] = {}
        self._pinned: set[int] = set()
        for operation in _behind([*outputs, *_unread(outputs[0].graph)]):
            self._trace(operation)
        for tensor in outputs:
            self._pin(self._labels[tensor.name])

    def groups(self) -> list[Group]:
        """What can be pruned, in the order of the graph."""
        pinned = {self._root(label) for label in self._pinned}
        places: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for (variable, axis), labels in self._axes.items():
            for index, label in enumerate(labels):
                places[self._root(label)].append((variable, axis, index))
        by_axes: dict[tuple[tuple[str, int], ...], list[int]] = defaultdict(list)
        for unit, found in places.items():
            if unit not in pinned:
                by_axes[tuple((variable, axis) for variable, axis, _ in found)].append(unit)
        groups = []
        for axes, units in by_axes.items():
            producers = tuple(name for name, axis in axes if name in self._kernels and axis == self._last(name))
            if producers and len(set(axes)) == len(axes):
                where = {axis: np.array([places[unit][at][2] for unit in units]) for at, axis in enumerate(axes)}
                groups.append(Group(np.array(units), where, producers))
        return groups

    def group_of(self, tensor: str) -> set[int]:
        """Units in a tensor, by its name."""
        labels = self._labels.get(tensor)
        return set() if labels is None else {self._root(label) for label in labels}

    def _trace(self, operation: Any) -> None:
        kind = operation.type
        for output in operation.outputs:
            self._labels[output.name] = None
        if kind in _VARIABLES:
            self._variable(operation)
        elif kind == "Conv2D":
            self._convolution(operation)
        elif kind == "DepthwiseConv2dNative":
            self._depthwise(operation)
        elif kind in _BATCH_NORM:
            self._batch_norm(operation)
        elif kind in _ELEMENTWISE:
            self._elementwise(operation)
        elif kind == "ConcatV2":
            self._concatenation(operation)
        elif kind in _BY_CHANNEL and _last_size(operation.inputs[0]) == _last_size(operation.outputs[0]):
            self._by_channel(operation)
        elif kind not in _SIZES:
            for tensor in operation.inputs:
                self._pin(self._labels[tensor.name])

    def _variable(self, operation: Any) -> None:
        (output,) = operation.outputs
        name = operation.name
        shape = operation.get_attr("shape")
        self._shapes[name] = [dimension.size for dimension in shape.dim] if hasattr(shape, "dim") else shape.as_list()
        self._variable_of[output.name] = name
        if len(self._shapes[name]) == 1:
            self._labels[output.name] = self._axis(name, 0)

    def _by_channel(self, operation: Any) -> None:
        source, output = operation.inputs[0], operation.outputs[0]
        self._labels[output.name] = self._labels[source.name]
        if source.name in self._variable_of and operation.type in ("Identity", "ReadVariableOp"):
            self._variable_of[output.name] = self._variable_of[source.name]

    def _convolution(self, operation: Any) -> None:
        image, kernel = operation.inputs
        variable = self._variable_of.get(kernel.name)
        if variable is None:
            self._pin(self._labels[image.name])
            return
        self._kernels[variable] = None
        self._join(self._labels[image.name], self._axis(variable, 2))
        self._labels[operation.outputs[0].name] = self._axis(variable, 3)

    def _depthwise(self, operation: Any) -> None:
        """With one output for each input; where there are more, all stay."""
        image, kernel = operation.inputs
        variable = self._variable_of.get(kernel.name)
        if variable is None or self._shapes[variable][3] != 1:
            self._pin(self._labels[image.name])
            return
        self._join(self._labels[image.name], self._axis(variable, 2))
        self._labels[operation.outputs[0].name] = self._axis(variable, 2)

    def _batch_norm(self, operation: Any) -> None:
        image, *vectors = operation.inputs
        for vector in vectors:
            if self._labels[vector.name] is not None:  # a constant is made anew, in the size that is needed
                self._join(self._labels[image.name], self._labels[vector.name])
        self._labels[operation.outputs[0].name] = self._labels[image.name]

    def _elementwise(self, operation: Any) -> None:
        size = _last_size(operation.outputs[0])
        wide = [self._labels[tensor.name] for tensor in operation.inputs if _last_size(tensor) == size]
        for tensor in operation.inputs:
            if _last_size(tensor) != size:
                self._pin(self._labels[tensor.name])
        for other in wide[1:]:
            self._join(wide[0], other)
        self._labels[operation.outputs[0].name] = wide[0] if wide and size is not None else None

    def _concatenation(self, operation: Any) -> None:
        import tensorflow.compat.v1 as tf

        *parts, axis = operation.inputs
        labels = [self._labels[part.name] for part in parts]
        at, rank = tf.get_static_value(axis), operation.outputs[0].shape.ndims
        if at is None or rank is None or any(_last_size(part) is None for part in parts):
            for each in labels:
                self._pin(each)
        elif at in (-1, rank - 1):
            known = [self._fixed(part.shape[-1]) if one is None else one for part, one in zip(parts, labels)]
            self._labels[operation.outputs[0].name] = np.concatenate(known)
        else:
            for other in labels[1:]:
                self._join(labels[0], other)
            self._labels[operation.outputs[0].name] = labels[0]

    def _axis(self, variable: str, axis: int) -> Any:
        if (variable, axis) not in self._axes:
            self._axes[variable, axis] = self._fresh(self._shapes[variable][axis])
        return self._axes[variable, axis]

    def _last(self, variable: str) -> int:
        return len(self._shapes[variable]) - 1

    def _fresh(self, count: int) -> Any:
        labels = np.arange(len(self._parent), len(self._parent) + count)
        self._parent.extend(labels.tolist())
        return labels

    def _fixed(self, count: Any) -> Any:
        labels = self._fresh(int(count))
        self._pin(labels)
        return labels

    def _pin(self, labels: Labels) -> None:
        if labels is not None:
            self._pinned.update(labels.tolist())

    def _join(self, one: Labels, other: Labels) -> None:
        if one is None or other is None or len(one) != len(other):
            self._pin(one)
            self._pin(other)
            return
        for left, right in zip(one.tolist(), other.tolist()):
            self._parent[self._root(right)] = self._root(left)

    def _root(self, label: int) -> int:
        while self._parent[label] != label:
            self._parent[label] = label = self._parent[self._parent[label]]
        return label


def _unread(graph: Any) -> list[Any]:
    """What layers make that may lead nowhere, as those of a backbone beyond the last feature map that is used."""
    return [one.outputs[0] for one in graph.get_operations() if one.type in _CONVOLUTIONS | _BATCH_NORM]


def _behind(outputs: Sequence[Any]) -> list[Any]:
    """The operations that some tensors of one graph depend on, each after those that it reads."""
    wanted, waiting = set(), [tensor.op for tensor in outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in wanted:
            wanted.add(operation)
            waiting.extend(tensor.op for tensor in operation.inputs)
    return [operation for operation in outputs[0].graph.get_operations() if operation in wanted]


def _last_size(tensor: Any) -> Optional[int]:
    """Of its last axis; None of a scalar, and where it is not known."""
    if not tensor.shape.ndims:
        return None
    size: Optional[int] = tensor.shape.as_list()[-1]
    return size
