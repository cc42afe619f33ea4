"""What a rule of the lowering sees of the whole: the graph being read and the one being written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.builder import Array, Builder
from jetlane.tasks.converter.lowering.tensor import Tensor
from jetlane.tasks.converter.uff.model import Uff, UffNode

#: Numbers that constants made of constants may have in all; what real files make are shapes and anchors.
_MOST_NUMBERS = 1 << 24


class Context:
    """The state of one lowering.

    Attributes:
        builder: The ONNX graph being written.
        nodes: UFF nodes by id; values: what has been lowered so far.
    """

    def __init__(self, uff: Uff) -> None:
        self.builder = Builder()
        self.nodes = {node.id: node for node in uff.nodes}
        self.values: dict[str, Tensor] = {}
        # A Shape is known without running anything: it does not keep a value alive.
        self._left = _MOST_NUMBERS
        self._maxima = {
            name
            for node in uff.nodes
            if node.operation == "Pool" and node.fields.get("func") == "max"
            for name in node.inputs
        }
        self._readers = Counter(name for node in uff.nodes if node.operation != "Shape" for name in node.inputs)

    def afford(self, node: UffNode, shape: Sequence[int]) -> None:
        """Say before it is made that a node makes a constant of this shape.

        Raises:
            ConversionError: That would be too much: a damaged file may ask for anything in a few bytes.
        """
        self._left -= prod(shape)
        if self._left < 0:
            what = f"{node.operation} {node.id!r} makes a constant of {list(shape)}"
            raise ConversionError(what, "the file is damaged", "convert the frozen graph again")

    def feeds_maximum(self, name: str) -> bool:
        """Whether a pooling of the maximum reads a node."""
        return name in self._maxima

    def read_once(self, name: str) -> bool:
        """Whether a node's value has a single reader, so that it may vanish into it."""
        return self._readers[name] == 1


#: UFF node and the values of its inputs -> its own value.
Rule = Callable[[Context, UffNode, list[Tensor]], Tensor]


def constant_of(node: UffNode, value: Tensor, role: str) -> Array:
    """The array of an input that has to be constant.

    Raises:
        ConversionError: It is not.
    """
    if value.array is None:
        raise ConversionError(
            f"the {role} of {node.operation} {node.id!r} is no constant", "only constant ones can be lowered"
        )
    return value.array
