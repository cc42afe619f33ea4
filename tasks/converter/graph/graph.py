"""A frozen graph as nodes and edges: the small index everything else is built on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError


class TfType(int):
    """A TensorFlow DataType number, told apart from an ordinary integer attribute."""


class TfShape(tuple[int, ...]):
    """A static shape; -1 where a size is unknown. ``None`` stands for an unknown rank."""


FLOAT, INT32 = TfType(1), TfType(3)


def node_of(ref: str) -> str:
    """Name of the node that makes a tensor: ``^a`` and ``a:1`` -> ``a``."""
    name = ref[1:] if ref.startswith("^") else ref
    head, colon, port = name.rpartition(":")
    return head if colon and port.isdigit() else name


def port_of(ref: str) -> int:
    """Output number of a tensor: ``a`` -> 0, ``a:1`` -> 1."""
    _, colon, port = ref.rpartition(":")
    return int(port) if colon and port.isdigit() else 0


#: What TensorFlow's operations have under a name, as fields of its AttrValue.
_KINDS = {
    **dict.fromkeys(("value",), "tensor"),
    **dict.fromkeys(("shape", "element_shape"), "shape"),
    **dict.fromkeys(("dtype", "T", "DstT", "SrcT", "out_type"), "type"),
    **dict.fromkeys(("strides", "ksize", "dilations", "squeeze_dims"), "list"),
    **dict.fromkeys(("padding", "data_format"), "s"),
    **dict.fromkeys(("axis", "num", "num_split", "num_bits", "begin_mask", "end_mask", "shrink_axis_mask"), "i"),
    **dict.fromkeys(("ellipsis_mask", "new_axis_mask"), "i"),
    **dict.fromkeys(("epsilon", "alpha", "iou_threshold"), "f"),
    **dict.fromkeys(("keep_dims", "is_training", "align_corners", "half_pixel_centers", "narrow_range"), "b"),
    **dict.fromkeys(("transpose_a", "transpose_b"), "b"),
}


class Node:
    """One operation.

    Attributes:
        inputs: Tensors read, as ``name`` or ``name:port``; control inputs as ``^name`` until they are dropped.
    """

    __slots__ = ("_decoded", "_raw", "inputs", "name", "op")

    def __init__(
        self, name: str, op: str, inputs: Iterable[str] = (), attrs: Optional[dict[str, Any]] = None, raw: Any = None
    ) -> None:
        self.name = name
        self.op = op
        self.inputs = list(inputs)
        self._decoded = dict(attrs or {})
        self._raw = raw

    def attr(self, key: str, default: Any = None) -> Any:
        """An attribute as a Python value: str, int, float, bool, TfType, TfShape, ndarray, or a list of these.

        Raises:
            GraphError: It is of another kind than TensorFlow's operations have it.
        """
        value = self._raw[key].WhichOneof("value") if key in _KINDS and self._has_raw(key) else None
        if value not in (None, _KINDS.get(key)):
            raise GraphError(
                f"the attribute {key!r} of {self.op} {self.name!r} is of another kind than it should be",
                f"it is stored as {value!r}: the file is damaged or was edited",
                "export the graph again",
            )
        return self.any_attr(key, default)

    def _has_raw(self, key: str) -> bool:
        return key not in self._decoded and self._raw is not None and key in self._raw

    def any_attr(self, key: str, default: Any = None) -> Any:
        """As ``attr``, of an operation that is not TensorFlow's: a plugin's fields may be of any kind."""
        if key not in self._decoded:
            if self._raw is None or key not in self._raw:
                return default
            self._decoded[key] = _decode(self._raw[key], self.name)
        value = self._decoded[key]
        return default if value is None else value

    def attr_names(self) -> list[str]:
        """Names of all attributes, sorted."""
        return sorted(set(self._decoded) | set(self._raw if self._raw is not None else ()))

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """The values of a Const."""
        found = self.attr("value")
        if self.op != "Const" or found is None:
            raise GraphError(
                f"node {self.name!r} ({self.op}) holds no constant", "the graph is not what it seemed to be", ""
            )
        return np.asarray(found)

    def copy(self) -> Node:
        return Node(self.name, self.op, self.inputs, self._decoded, self._raw)

    def __repr__(self) -> str:
        return f"{self.op}({self.name}: {', '.join(self.inputs)})"


def const(name: str, value: np.ndarray[Any, Any]) -> Node:
    """A new Const node."""
    return Node(name, "Const", (), {"value": value})


def _decode(attribute: Any, node: str) -> Any:
    kind = attribute.WhichOneof("value")
    if kind is None or kind in ("func", "placeholder"):
        return None
    value = getattr(attribute, kind)
    if kind == "tensor":
        from jetlane.tasks.converter.graph.tensors import to_numpy

        return to_numpy(value, node)
    if kind == "list":
        for field, one in (("s", _text), ("i", int), ("f", float), ("b", bool), ("type", TfType), ("shape", _shape)):
            items = getattr(value, field)
            if len(items):
                return [one(item) for item in items]
        return []
    plain: dict[str, Callable[[Any], Any]] = {"s": _text, "type": TfType, "shape": _shape}
    return plain[kind](value) if kind in plain else value


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _shape(proto: Any) -> Optional[TfShape]:
    return None if proto.unknown_rank else TfShape(int(dim.size) for dim in proto.dim)


class Graph:
    """Nodes by name, in file order, and who reads what."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self.nodes: dict[str, Node] = {node.name: node for node in nodes}
        self._consumers: Optional[dict[str, list[Node]]] = None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def __contains__(self, name: str) -> bool:
        return name in self.nodes

    def __getitem__(self, ref: str) -> Node:
        """The node that makes a tensor.

        Raises:
            GraphError: No such node.
        """
        node = self.nodes.get(ref) or self.nodes.get(node_of(ref))
        if node is None:
            raise GraphError(
                f"the graph has no node {node_of(ref)!r}",
                "another node reads it: the file is damaged or was edited",
                "",
            )
        return node

    def of(self, *ops: str) -> list[Node]:
        """All nodes of the given operations."""
        return [node for node in self if node.op in ops]

    def consumers(self, name: str) -> list[Node]:
        """Nodes that read any output of a node, once per edge; control edges included while there are any."""
        if self._consumers is None:
            index: dict[str, list[Node]] = {}
            for node in self:
                for ref in node.inputs:
                    index.setdefault(node_of(ref), []).append(node)
            self._consumers = index
        return self._consumers.get(name, [])

    def changed(self) -> None:
        """Say that edges were changed, so that the index of consumers is made anew."""
        self._consumers = None

    def add(self, node: Node) -> Node:
        self.nodes[node.name] = node
        self._consumers = None
        return node

    def unused_name(self, wish: str) -> str:
        """A name no node has yet."""
        name, count = wish, 0
        while name in self.nodes:
            count += 1
            name = f"{wish}_{count}"
        return name

    def copy(self) -> Graph:
        return Graph(node.copy() for node in self)

    def redirect(self, replacements: dict[str, str]) -> int:
        """Make every reader of a tensor read another one instead; chains of replacements are followed.

        Returns:
            Number of edges changed.
        """
        count = 0
        for node in self:
            for index, ref in enumerate(node.inputs):
                target = ref
                for _ in range(len(replacements) + 1):
                    if target not in replacements:
                        break
                    target = replacements[target]
                if target != ref:
                    node.inputs[index] = target
                    count += 1
        self._consumers = None
        return count

    def ancestors(self, refs: Iterable[str], stop: Iterable[str] = ()) -> dict[str, Node]:
        """Every node that the given tensors depend on, their makers included; not what is behind nodes in ``stop``."""
        barrier = set(stop)
        found: dict[str, Node] = {}
        todo = [node_of(ref) for ref in refs]
        while todo:
            name = todo.pop()
            if name in found:
                continue
            node = self[name]
            found[name] = node
            if name not in barrier:
                todo.extend(node_of(ref) for ref in node.inputs)
        return found

    def descendants(self, names: Iterable[str]) -> set[str]:
        """Names of every node that depends on the given ones, these included."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo.extend(reader.name for reader in self.consumers(name))
        return found
