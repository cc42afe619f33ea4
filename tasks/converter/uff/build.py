"""A TensorFlow graph as a UFF graph, in the original converter's order of nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError, GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, const, node_of
from jetlane.tasks.converter.graph.shape_ops import Shape
from jetlane.tasks.converter.uff.evidence import judge
from jetlane.tasks.converter.uff.model import ORDERS, WEIGHTS, Uff, to_data
from jetlane.tasks.converter.uff.parser_faults import refuse_misread, reordered_and_shared
from jetlane.tasks.converter.uff.parser_forms import fit_parser, image_shapes
from jetlane.tasks.converter.uff.rules import Emitted, Orders, apply_rule
from jetlane.tasks.converter.uff.schema import DECREMENT, INCREMENT, SPECIAL, message_class

#: Layout -> the index of each dimension in the canonical order (NC+, KC+, NC, KC).
_LAYOUTS = {
    "N+C": (0, 2, INCREMENT, 1),
    "NC+": (0, 1, 2, INCREMENT),
    "+CK": (2, INCREMENT, 1, 0),
    "+KC": (2, INCREMENT, 0, 1),
    "-CK": (DECREMENT, 2, 1, 0),
    "NC": (0, 1),
    "CN": (1, 0),
    "CK": (1, 0),
    "KC": (0, 1),
}


def convert_graph(graph: Graph, outputs: Sequence[str], inputs: Optional[Mapping[str, Shape]] = None) -> Uff:
    """Convert the part of a graph that the outputs depend on.

    Operations that NVIDIA's parsers misread are given another form first (``parser_forms``). Nodes are emitted depth
    first from the outputs, the last input's subtree first; an Identity between two nodes is passed over. Operations UFF
    does not know become custom ones, ``_<op>``, which the parser takes for plugins.

    Args:
        graph: Frozen; control inputs are followed like the others, as the original converter does.
        outputs: Names of the output nodes; each gets a ``MarkOutput_<i>``.
        inputs: Shapes of the inputs in TensorFlow's order, as the network sees them; else those that they declare.

    Raises:
        ConversionError: An output does not exist, an operation cannot be expressed, or a parser would misread it.
    """
    missing = [name for name in outputs if node_of(name) not in graph]
    if missing or not outputs:
        raise ConversionError(
            f"{missing[0]!r} was not found in the graph" if missing else "no outputs were named",
            "the output's name is wrong",
            "name an existing node",
        )
    graph, sizes = graph.copy(), image_shapes(graph) if inputs is None else inputs
    changes = fit_parser(graph, outputs, sizes)
    writer = _Writer()
    todo = [node_of(name) for name in outputs]
    while todo:
        name = todo.pop()
        if name in writer.written:
            continue
        node = graph[name]
        emitted = _emitted(graph, node)
        for constant in emitted.first:
            if constant.name not in writer.written:
                writer.add(constant, apply_rule(graph, constant, []))
        writer.add(node, emitted)
        todo.extend(emitted.inputs if emitted.follow is None else emitted.follow)
    uff = writer.finish([node_of(name) for name in outputs])
    shapes = _shapes(graph, sizes, uff)
    refuse_misread(uff.nodes, shapes)
    uff.evidence = judge(uff.nodes, shapes)
    uff.rewrites = tuple(change for change in changes if change.count)
    return uff


def _shapes(graph: Graph, inputs: Mapping[str, Shape], uff: Uff) -> dict[str, Optional[Shape]]:
    """Static shapes, as far as they follow from the inputs; none where the graph contradicts itself."""
    evaluator = Evaluator(graph, inputs)
    try:
        return {node.id: evaluator.fact(node.id).shape for node in uff.nodes if node.id in graph}
    except GraphError:
        return {}


def _emitted(graph: Graph, node: Node) -> Emitted:
    try:
        return apply_rule(graph, node, [_source(graph, ref) for ref in node.inputs])
    except (IndexError, TypeError, ValueError) as error:
        raise ConversionError(
            f"{node.op} {node.name!r} cannot be converted",
            f"its inputs do not fit it: {error}",
            "export the graph again",
        ) from error


def _source(graph: Graph, ref: str) -> str:
    node = graph[ref]
    return node_of(node.inputs[0]) if node.op == "Identity" and node.inputs else node.name


class _Writer:
    def __init__(self) -> None:
        self.message: Any = message_class("MetaGraph")(version=1, descriptor_core_version=1)
        self.graph = self.message.graphs.add(id="main")
        self.written: set[str] = set()

    def add(self, node: Node, emitted: Emitted) -> None:
        self.written.add(node.name)
        entry = self.graph.nodes.add(id=node.name, operation=emitted.operation, inputs=emitted.inputs)
        for key, value in emitted.fields.items():
            if isinstance(value, Orders):
                entry.fields[key].ref = self._orders(value)
            elif isinstance(value, np.ndarray):
                reference = WEIGHTS + node.name
                entry.fields[key].ref = reference
                little_endian = value.astype(value.dtype.newbyteorder("<"), copy=False)
                self.message.referenced_data[reference].blob = np.ascontiguousarray(little_endian).tobytes()
            else:
                entry.fields[key].CopyFrom(to_data(value))

    def _orders(self, layouts: Orders) -> str:
        reference = ORDERS + "_".join(layouts)
        if reference not in self.message.referenced_data:
            orders = self.message.referenced_data[reference].dim_orders_list
            for layout in layouts:
                orders.val.add().orders[SPECIAL].val.extend(_LAYOUTS[layout])
        return reference

    def _give_own_tensors(self) -> None:
        """Put a product with 1 between a shared tensor and an operation that re-orders it.

        The parser leaves the tensor re-ordered for its next reader; only the operation reads the product.
        """
        shared = {node.id for node, _ in reordered_and_shared(Uff(self.message).nodes)}
        nodes = list(self.graph.nodes)
        del self.graph.nodes[:]
        for node in nodes:
            if node.id in shared:
                one = const(f"{node.id}/own/one", np.array(1, np.float32))
                self.add(one, Emitted("Const", [], {"shape": [], "dtype": FLOAT, "values": one.value}))
                own = Node(f"{node.id}/own", "Mul")
                self.add(own, Emitted("Binary", [node.inputs[0], one.name], {"func": "mul"}))
                node.inputs[0] = own.name
            self.graph.nodes.append(node)

    def finish(self, outputs: Sequence[str]) -> Uff:
        for index, name in enumerate(outputs):
            self.graph.nodes.add(id=f"MarkOutput_{index}", operation="MarkOutput", inputs=[name])
        self._give_own_tensors()
        self.message.descriptors.add(id="tensorflow_extension", version=1)
        if any(node.operation.startswith("_") for node in self.graph.nodes):
            self.message.descriptors.add(id="custom", version=1)
        ids = {node.id for node in self.graph.nodes}
        for node in self.graph.nodes:
            for name in node.inputs:
                if name not in ids:
                    raise ConversionError(
                        f"{node.id!r} reads {name!r}, which was not converted", "a mistake of the converter", ""
                    )
        return Uff(self.message)
