"""What is known of tensors without running the network: static shapes, and values made of constants and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of, port_of
from jetlane.tasks.converter.graph.shape_ops import SHAPE_OPS, Fact, Shape, Unknown
from jetlane.tasks.converter.graph.value_ops import VALUE_OPS, integers

#: Bytes of one value, and of all values that are computed: a damaged graph may ask for anything in a few bytes.
_LARGEST_VALUE, _MOST_BYTES = 1 << 26, 1 << 28


class Evaluator:
    """Shapes and constant values, worked out on demand and kept.

    Args:
        graph: Not changed meanwhile.
        shapes: Shapes of tensors that are given from outside, such as the network's input.
    """

    def __init__(self, graph: Graph, shapes: Optional[Mapping[str, Shape]] = None) -> None:
        self._graph = graph
        self._facts: dict[str, list[Fact]] = {}
        self._left = _MOST_BYTES
        self._given = {ref: Fact(tuple(shape)) for ref, shape in (shapes or {}).items()}

    def fact(self, ref: str) -> Fact:
        """Shape and value of a tensor, as far as they are known."""
        if ref in self._given:
            return self._given[ref]
        self._work_out(node_of(ref))
        outputs = self._facts[node_of(ref)]
        port = port_of(ref)
        return outputs[port] if port < len(outputs) else Fact()

    def shape(self, ref: str) -> Shape:
        """Static shape of a tensor.

        Raises:
            GraphError: It cannot be inferred.
        """
        shape = self.fact(ref).shape
        if shape is None:
            blamed = self._first_unknown(ref)
            raise GraphError(
                f"the shape of {ref!r} cannot be inferred",
                f"{blamed.op} {blamed.name!r} is the first node without one",
                "name the input size, or export the graph with a fixed input size",
            )
        return shape

    def value(self, ref: str) -> Optional[np.ndarray[Any, Any]]:
        """Values of a tensor that depends on constants and static shapes alone, else None."""
        return self.fact(ref).value

    def _known(self, ref: str) -> Optional[Fact]:
        if ref in self._given:
            return self._given[ref]
        outputs = self._facts.get(node_of(ref))
        if outputs is None:
            return None
        port = port_of(ref)
        return outputs[port] if port < len(outputs) else Fact()

    def _work_out(self, name: str) -> None:
        # An explicit stack: networks are deeper than Python's recursion limit. A node met again while it waits for its
        # own inputs is part of a loop, of which nothing is known.
        waiting: set[str] = set()
        todo = [name]
        while todo:
            current = todo[-1]
            if current in self._facts:
                todo.pop()
                continue
            node = self._graph[current]
            refs = [ref for ref in node.inputs if not ref.startswith("^")]
            missing = [node_of(ref) for ref in refs if self._known(ref) is None]
            if missing and current not in waiting:
                waiting.add(current)
                todo.extend(missing)
                continue
            todo.pop()
            inputs = [self._known(ref) or Fact() for ref in refs]
            facts = self._facts[current] = _infer(node, inputs, min(self._left, _LARGEST_VALUE))
            if node.op != "Const":
                self._left -= sum(fact.value.nbytes for fact in facts if fact.value is not None)

    def _first_unknown(self, ref: str) -> Node:
        node = self._graph[ref]
        seen: set[str] = set()
        while node.name not in seen:
            seen.add(node.name)
            unknown = [r for r in node.inputs if not r.startswith("^") and self.fact(r).shape is None]
            if not unknown:
                break
            node = self._graph[unknown[0]]
        return node


def _infer(node: Node, inputs: list[Fact], affordable: int) -> list[Fact]:
    """What is known of a node's outputs; a value only where it takes no more than ``affordable`` bytes."""
    try:
        return _inferred(node, inputs, affordable)
    except Unknown:
        return [Fact()]
    except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        raise GraphError(
            f"{node.op} {node.name!r} cannot be worked out",
            f"its inputs do not fit it: {error}",
            "export the graph again",
        ) from error


def _inferred(node: Node, inputs: list[Fact], affordable: int) -> list[Fact]:
    if node.op == "Const":
        value = node.value
        return [Fact(value.shape, value)]
    if node.op in ("Placeholder", "PlaceholderWithDefault"):
        shape = node.attr("shape")
        return [Fact(tuple(shape) if shape is not None and min(shape, default=0) >= 0 else None)]
    if node.op == "Shape" and inputs and inputs[0].shape is not None:
        return [_constant(_sizes(np.array(inputs[0].shape, np.int64), node))]
    if node.op == "Size" and inputs and inputs[0].shape is not None:
        return [_constant(_sizes(np.array(prod(inputs[0].shape), np.int64), node))]
    known = bool(inputs) and all(fact.value is not None for fact in inputs)
    if known and node.op in VALUE_OPS and _bytes(node, inputs) <= affordable:
        with np.errstate(all="ignore"):
            return [_constant(array) for array in VALUE_OPS[node.op](node, *(fact.value for fact in inputs))]
    if node.op in SHAPE_OPS:
        return [Fact(tuple(int(size) for size in shape)) for shape in SHAPE_OPS[node.op](node, *inputs)]
    return [Fact()]


def _sizes(sizes: np.ndarray[Any, Any], node: Node) -> np.ndarray[Any, Any]:
    """Sizes in the type that the node gives them.

    Raises:
        OverflowError: One does not fit it.
    """
    kind = np.int64 if node.attr("out_type", 3) == 9 else np.int32
    if sizes.size and sizes.max() > np.iinfo(kind).max:
        raise OverflowError(f"a size of {sizes.max()} is too large")
    return sizes.astype(kind)


def _constant(array: np.ndarray[Any, Any]) -> Fact:
    return Fact(array.shape, array)


def _bytes(node: Node, inputs: list[Fact]) -> float:
    """How much a value would take at most."""
    size = 1.0
    if node.op == "Range":
        start, limit, delta = (float(np.ravel(np.asarray(fact.value))[0]) for fact in inputs)
        size = abs((limit - start) / delta) if delta else float("inf")
    elif node.op == "Fill":
        size = float(prod(max(0, times) for times in integers(np.asarray(inputs[0].value))))
    elif node.op in SHAPE_OPS:
        shapes = SHAPE_OPS[node.op](node, *inputs)
        size = float(len(shapes) * prod(max(0, int(times)) for times in shapes[0])) if shapes else 0.0
    return size * max(np.asarray(fact.value).itemsize for fact in inputs)
