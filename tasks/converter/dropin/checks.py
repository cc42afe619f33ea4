"""Find what TensorRT or the converter would fail at before the conversion, with cause and remedy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from jetlane.specs.catalogue import entry
from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.dropin.model_differences import differences
from jetlane.tasks.converter.dropin.plugin_counts import check_counts
from jetlane.tasks.converter.dropin.plugin_fields import GRID_ANCHORS, NMS, Difference
from jetlane.tasks.converter.dropin.plugin_inputs import input_order, refuse_mixed_concats
from jetlane.tasks.converter.dropin.rewrites import unknown_sizes
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of
from jetlane.tasks.converter.graph.ssd import SsdGraph
from jetlane.tasks.converter.uff.rules import is_flatten

#: No plugin of TensorRT's has the name of these operations, so they cannot be meant to become one.
_NEVER_PLUGINS = {
    *("Assert", "Enter", "Exit", "Fill", "LoopCond", "Merge", "NextIteration", "NoOp", "Switch", "Where"),
    *("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "LogicalAnd", "LogicalNot", "LogicalOr"),
    *("DecodeJpeg", "DecodePng", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV5", "Range"),
    *("TensorArrayV3", "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3"),
}
#: Inputs without which an operation cannot be converted.
_NEEDED_INPUTS = {
    **dict.fromkeys(("Add", "AddV2", "Sub", "Mul", "Div", "RealDiv", "Minimum", "Maximum", "BiasAdd", "MatMul"), 2),
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "Reshape", "ExpandDims", "Transpose", "Pad"), 2),
    **dict.fromkeys(("Mean", "Sum", "Prod", "Max", "Min", "ArgMax", "ArgMin"), 2),
    **dict.fromkeys(("Relu", "Relu6", "Sigmoid", "Tanh", "Softmax", "MaxPool", "AvgPool"), 1),
    **dict.fromkeys(("Squeeze", "Identity", "Shape", "ConcatV2", "Pack"), 1),
    **dict.fromkeys(("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"), 5),
    "Conv2DBackpropInput": 3,
    "StridedSlice": 4,
}


@dataclass(frozen=True)
class Findings:
    """What a person should know of a script's result.

    Attributes:
        warnings: What some versions of TensorRT refuse.
        differences: Numbers that are not the model's.
    """

    warnings: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()


def check(
    graph: Graph, outputs: Sequence[str], original: Mapping[str, str], ssd: Optional[SsdGraph] = None
) -> Findings:
    """Look for what TensorRT's parser and plugins, or the conversion itself, would stumble over.

    Args:
        graph: As it is about to be converted.
        outputs: Names of its outputs.
        original: Operations by node of the graph before a script changed it.
        ssd: What that graph is, where it is an SSD.

    Raises:
        ConversionError: A known error, with its cause and remedy.
    """
    nodes = _reachable(graph, outputs)
    for node in nodes:  # first of all: what is left over brings the others with it
        _check_operation(node, original)
    refuse_mixed_concats(graph, nodes, ssd)
    for node in nodes:
        _check_inputs(graph, node)
        _check_reshape(graph, node)
    warnings: list[str] = []
    found: list[Difference] = []
    for node in (node for node in nodes if node.op == NMS):
        if node.name not in map(node_of, outputs):
            known = entry("output-order")
            raise ConversionError(
                f"{node.op} {node.name!r} is not an output, {outputs[0]!r} behind it is", known.cause, known.remedy
            )
        if ssd is not None:
            found += differences(graph, nodes, node, ssd)
        try:
            check_counts(graph, node, input_order(graph, node, ssd) if ssd is not None else None)
        except ConversionError as error:  # the model's numbers say what is behind it
            told = [f"{item.field}: {item.text}" for item in found if not item.taste]
            raise ConversionError("; ".join([error.what, *told]), error.why, error.remedy) from None
        warnings += [_squeeze_warning(ref, node) for ref in node.inputs if graph[ref].op == "Squeeze"]
    return Findings(tuple(warnings), tuple(dict.fromkeys(found)))


def _reachable(graph: Graph, outputs: Sequence[str]) -> list[Node]:
    """The nodes that will be converted."""
    found: dict[str, Node] = {}
    todo = [("", name) for name in outputs]
    while todo:
        reader, ref = todo.pop()
        name = node_of(ref)
        if name in found:
            continue
        if name not in graph:
            known = entry("input-not-in-graph" if reader else "output-not-found")
            gone = f"{reader!r} reads {name!r}, which is no longer in the graph"
            raise ConversionError(gone if reader else f"{name!r} was not found in the graph", known.cause, known.remedy)
        node = found[name] = graph[name]
        todo += [(name, ref) for ref in (node.inputs[:1] if is_flatten(graph, node) else node.inputs)]
    return list(found.values())


def _check_inputs(graph: Graph, node: Node) -> None:
    count = sum(not ref.startswith("^") for ref in node.inputs)
    if node.op in GRID_ANCHORS and not count:
        found = entry("anchor-without-input")
        raise ConversionError(f"{node.op} {node.name!r} has no input", found.cause, found.remedy)
    if node.op == "NMS_TRT" and count != 3:
        found = entry("nms-inputs")
        named = ", ".join(node.inputs) or "none"
        raise ConversionError(f"NMS_TRT {node.name!r} has {count} inputs, not 3: {named}", found.cause, found.remedy)
    needed = _NEEDED_INPUTS.get(node.op, 0)
    if count < needed and not (is_flatten(graph, node) and count):
        found = entry("list-index")
        raise ConversionError(
            f"{node.op} {node.name!r} has {count} inputs, it needs {needed}", found.cause, found.remedy
        )


def _squeeze_warning(ref: str, node: Node) -> str:
    """Real SSD files have a Squeeze here, so it is no error; some versions fail at it."""
    found = entry("plugin-squeeze")
    return f"{ref!r} stands before {node.name!r}, which some versions of TensorRT refuse: {found.remedy}"


def _check_operation(node: Node, original: Mapping[str, str]) -> None:
    """Only what comes from TensorFlow's graph is refused: a script may name a plugin as it likes."""
    if original.get(node.name) != node.op:
        return
    if node.op == "Cast":
        found = entry("cast-left")
    elif node.op in _NEVER_PLUGINS:
        found = entry("left-over-operation")
    else:
        return
    what = f"{node.op} {node.name!r} is left between the input and the outputs"
    raise ConversionError(what, found.cause, found.remedy)


def _check_reshape(graph: Graph, node: Node) -> None:
    if node.op != "Reshape" or is_flatten(graph, node) or graph[node.inputs[1]].op != "Pack":
        return
    pack = graph[node.inputs[1]]
    unknown = [graph[pack.inputs[index]].op for index in unknown_sizes(graph, pack.name)]
    if len(unknown) > 1 and "Const" in unknown:
        found = entry("reshape-minus-one")
        raise ConversionError(f"{node.name!r} reshapes to more than one unknown size", found.cause, found.remedy)
