"""What some UFF parser of NVIDIA's, from TensorRT 5.1 to 8.6, refuses or reads otherwise than TensorFlow means it.

Each rule was found by running the parsers of 5.1, 6.0, 7.0, 7.1 and 7.2 on a file for it, and evaluating the network
that they made of it; 8.6 gave on a GPU what 7.1's network gives. ``tests/uffparser`` runs them again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.uff.model import UffNode

Shapes = Mapping[str, Optional[tuple[int, ...]]]

#: They re-order their first input, and leave it so for the readers that are parsed later.
_REORDERING = {
    *("Reduce", "ArgMax", "ArgMin", "Transpose", "Reshape", "Flatten", "ExpandDims", "Squeeze", "Softmax"),
    "FullyConnected",
}
#: What they give lies in its own order already, or is known before the network runs.
_ORDERED = {"Const", "Stack", "StridedSlice", "Shape", "Reshape"}
#: What comes out lies as what went in.
_ELEMENTWISE = {"Activation", "Unary", "Binary", "LeakyRelu"}


@dataclass(frozen=True)
class Misreading:
    """One node that a board would refuse or read wrongly.

    Attributes:
        pattern: The operation, with what is wrong about its use.
        why: What the parsers do.
    """

    node: str
    pattern: str
    why: str


def refuse_misread(nodes: Sequence[UffNode], shapes: Shapes) -> None:
    """Raise for the first misreading.

    Raises:
        ConversionError: A board would refuse or misread the file.
    """
    for found in misreadings(nodes, shapes):
        raise ConversionError(
            f"NVIDIA's UFF parser does not read {found.pattern} ({found.node!r}) as TensorFlow does",
            found.why,
            "report the model's architecture; the operation needs another form",
        )


def misreadings(nodes: Sequence[UffNode], shapes: Shapes) -> list[Misreading]:
    """All nodes that a parser is known to refuse or to read wrongly.

    Args:
        shapes: Shapes of the nodes, in TensorFlow's order, where known; rules that need an unknown one are passed over.
    """
    by_id = {node.id: node for node in nodes}
    image = from_image(by_id)
    found = []
    for node in nodes:
        rule = _RULES.get(node.operation)
        said = rule(_Seen(node, by_id, image, shapes)) if rule is not None and node.id in image else None
        if said is not None:
            found.append(Misreading(node.id, *said))
    for node in nodes:
        for name in node.inputs if node.operation not in ("FullyConnected", "Shape") else ():
            if by_id[name].operation == "Flatten":
                found.append(Misreading(node.id, f"{node.operation} of a Flatten", "it takes its order for a map's"))
    for node, tensor in reordered_and_shared(nodes):
        why = f"it re-orders {tensor!r}, and what else reads that takes its height for its channels"
        found.append(Misreading(node.id, f"{node.operation} of a shared tensor", why))
    return found


def reordered_and_shared(nodes: Sequence[UffNode]) -> list[tuple[UffNode, str]]:
    """(operation that re-orders its input, that tensor) where anything but a Shape reads the tensor too."""
    by_id = {node.id: node for node in nodes}
    readers: dict[str, set[str]] = {}
    for node in nodes:
        for name in (
            () if node.operation == "Shape" else node.inputs[:1] if node.operation == "Reshape" else node.inputs
        ):
            readers.setdefault(name, set()).add(node.id)
    return [
        (node, node.inputs[0])
        for node in nodes
        if node.inputs
        and len(readers.get(node.inputs[0], ())) > 1
        and by_id[node.inputs[0]].operation not in _ORDERED
        and (node.operation in _REORDERING or (node.operation == "Pad" and _pads_channels(node, by_id)))
    ]


def _pads_channels(node: UffNode, by_id: Mapping[str, UffNode]) -> bool:
    amounts = by_id[node.inputs[1]].fields.get("values") if len(node.inputs) > 1 else None
    return not isinstance(amounts, np.ndarray) or amounts.ndim != 2 or bool(np.any(amounts[-1]))


def from_image(by_id: Mapping[str, UffNode]) -> set[str]:
    """Ids of nodes whose values depend on an input; sizes, and what is made of constants, do not."""
    readers: dict[str, list[str]] = {}
    for node in by_id.values():
        for source in () if node.operation == "Shape" else node.inputs:
            readers.setdefault(source, []).append(node.id)
    found: set[str] = set()
    todo = [node.id for node in by_id.values() if node.operation == "Input"]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += readers.get(name, [])
    return found


@dataclass(frozen=True)
class SeenNode:
    """One node and what is known around it.

    Attributes:
        image: Ids of the nodes whose values depend on an input.
    """

    node: UffNode
    by_id: Mapping[str, UffNode]
    image: set[str]
    shapes: Shapes


class _Seen(SeenNode):
    def shape(self, name: str) -> Optional[tuple[int, ...]]:
        return self.shapes.get(name)

    def is_reshaped(self, name: str) -> bool:
        """Whether a Reshape or its like makes a tensor, with nothing but elementwise operations behind it."""
        while self.by_id[name].operation in _ELEMENTWISE:
            name = next(source for source in self.by_id[name].inputs if source in self.image)
        return self.by_id[name].operation in ("Reshape", "Flatten", "Squeeze", "ExpandDims")

    def constant_shape(self, name: str) -> Optional[tuple[int, ...]]:
        values = self.by_id[name].fields.get("values")
        return values.shape if isinstance(values, np.ndarray) else self.shapes.get(name)


_Said = Optional[tuple[str, str]]


def _binary(seen: _Seen) -> _Said:
    computed = [name in seen.image for name in seen.node.inputs]
    if len(computed) != 2:
        return None
    if all(computed):
        reduced = [
            seen.by_id[name].operation == "Reduce" and len(seen.shape(name) or ()) == 4 for name in seen.node.inputs
        ]
        mixed = any(reduced) and not all(reduced)
        return (
            ("Binary of a Reduce and a feature map", "it takes their dimensions in different orders") if mixed else None
        )
    func, first = seen.node.fields.get("func"), computed[1]
    if func in ("min", "max"):
        return f"Binary {func} with a constant", "it refuses that"
    if first and func in ("sub", "div"):
        return f"Binary {func} with a constant first", "it refuses that"
    data, constant = seen.node.inputs[int(first)], seen.node.inputs[int(not first)]
    shape, numbers = seen.shape(data), seen.constant_shape(constant)
    if shape is None or numbers is None or int(np.prod(numbers)) == 1:
        return None
    if seen.is_reshaped(data):
        return "Binary with a constant of several numbers behind a Reshape", "it lays them over the wrong dimension"
    if len(shape) != 4:
        return None
    if int(np.prod(numbers)) != shape[3] or numbers[-1] != shape[3]:
        return (
            "Binary with a constant of several numbers per channel",
            "it lays their HWC order over the map's CHW order",
        )
    return None


def _concat(seen: _Seen) -> _Said:
    axis = seen.node.fields.get("axis")
    return ("Concat of a negative axis", "it refuses that") if isinstance(axis, int) and axis < 0 else None


def _stack(seen: _Seen) -> _Said:
    return "Stack of feature maps", "it stacks constants only"


def _slice(seen: _Seen) -> _Said:
    if seen.node.inputs[0] not in seen.image:
        return None
    return "StridedSlice of a feature map", "it takes bounds meant for NHWC for those of CHW"


def _softmax(seen: _Seen) -> _Said:
    shape, source = seen.shape(seen.node.inputs[0]), seen.by_id[seen.node.inputs[0]]
    layout = tuple(seen.node.fields.get("inputs_orders", ()))
    if shape is None or len(shape) == 2 or (layout == ("NC+",) and source.operation == "Transpose"):
        return None
    if layout == ("NC+",) and len(shape) == 5:
        return None
    return "Softmax of more than 2 dimensions", "from TensorRT 7.0 on it is computed over the wrong axis"


def _pool(seen: _Seen) -> _Said:
    if not any(seen.node.fields.get("padding", ())):
        return None
    func = seen.node.fields.get("func")
    why = "a maximum ignores the margin that Pad fills with zeros" if func == "max" else "5.1 does not count the margin"
    return f"Pool {func} with explicit padding", why


def _conv_transpose(seen: _Seen) -> _Said:
    kernel = seen.by_id[seen.node.inputs[1]].fields.get("values")
    strides = seen.node.fields.get("strides", ())
    if seen.node.fields.get("implicit_padding") != "same" or not isinstance(kernel, np.ndarray):
        return None
    if all(size < step + 2 for size, step in zip(kernel.shape[:2], strides)):
        return None
    return "ConvTranspose, SAME, with a kernel far larger than its stride", "TensorRT 7.0 cuts it on one side"


def _transpose(seen: _Seen) -> _Said:
    source = seen.by_id[seen.node.inputs[0]]
    if source.operation != "Binary" or source.inputs[0] in seen.image:
        return None
    return "Transpose of a Binary with its constant first", "it does not know the order of its dimensions there"


def _pad(seen: _Seen) -> _Said:
    amounts = seen.by_id[seen.node.inputs[1]].fields.get("values") if len(seen.node.inputs) > 1 else None
    if (
        not isinstance(amounts, np.ndarray)
        or amounts.shape != (4, 2)
        or not np.any(amounts[3])
        or not np.any(amounts[1])
    ):
        return None
    return "Pad of rows and channels", "it pads other dimensions, or refuses three at once"


_RULES: dict[str, Callable[[_Seen], Any]] = {
    "Transpose": _transpose,
    "Binary": _binary,
    "Concat": _concat,
    "Stack": _stack,
    "StridedSlice": _slice,
    "Softmax": _softmax,
    "Pad": _pad,
    "Pool": _pool,
    "ConvTranspose": _conv_transpose,
}
