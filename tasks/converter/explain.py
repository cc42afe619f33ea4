"""What a conversion did, for a person: layers with their cost, and what was removed, rewritten, collapsed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.decode import find_decoder
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of
from jetlane.tasks.converter.graph.network import Network, extract_network
from jetlane.tasks.converter.graph.rewrites.control_inputs import drop_control_inputs
from jetlane.tasks.converter.graph.simplify import simplify
from jetlane.tasks.converter.graph.ssd import SsdGraph
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff.model import Uff, UffNode

#: Operations that engines compute together with the one before them.
_FUSED = {"BiasAdd": "bias", "Relu": "relu", "Relu6": "relu6", "Sigmoid": "sigmoid", "LeakyRelu": "leaky relu"}
_FLOAT_BYTES = 4


@dataclass
class Layer:
    """One computation, with what is fused into it.

    Attributes:
        kind: The operation and what is fused: ``Conv2D 3x3/2 + bias + relu6``.
        shape: Shape of its output, in TensorFlow's order.
        parameters: Numbers it holds.
        macs: Multiplications with addition, for one image.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int = 0
    macs: int = 0

    @property
    def bytes(self) -> int:
        """Size of the output, in float32."""
        return prod(self.shape) * _FLOAT_BYTES


@dataclass(frozen=True)
class Change:
    """One line of the account.

    Attributes:
        kind: ``rewritten``, ``collapsed``, ``written as`` or ``unproven``.
        count: Nodes concerned.
        warning: The result may differ from TensorFlow's, or a board's parser may refuse it.
    """

    kind: str
    count: int
    text: str
    warning: bool = False


@dataclass(frozen=True)
class Explanation:
    """What a conversion does to one model.

    Attributes:
        parameters: Numbers the model holds; kernels that several layers share count once here.
        peak_bytes: Size of the float32 activations that are needed at once, at most, when layers run in turn and memory
            is used again; an estimate of what an engine needs, half of it in fp16.
        total_bytes: Size of all activations.
        notes: Notes of the derivation.
    """

    layers: tuple[Layer, ...]
    changes: tuple[Change, ...]
    parameters: int
    peak_bytes: int
    total_bytes: int
    notes: tuple[str, ...] = ()


def explain(graph: Graph, ssd: SsdGraph, params: PluginParams, uff: Uff) -> Explanation:
    """Account for a conversion.

    Args:
        graph: As loaded.
        uff: What was made of it with ``params``.

    Raises:
        GraphError: The network cannot be cut out of the graph.
    """
    network = extract_network(graph, ssd, params.input.name)
    shapes = network.shapes(params.input.name, (1, *ssd.input_size, 3))
    layers, owner = _layers(network.graph, shapes)
    peak = _peak(network, layers, owner)
    total = sum(layer.bytes for layer in layers.values())
    added = (*_normalization(params), *_plugin_layers(uff, params))
    held = _parameters(network.graph) + sum(layer.parameters for layer in added)
    changes = (*_rewrites(uff), *_collapsed(graph, ssd, network), *_written_as(network.graph, uff), *_unproven(uff))
    return Explanation((*layers.values(), *added), changes, held, peak, total, params.notes)


def _layers(graph: Graph, shapes: Evaluator) -> tuple[dict[str, Layer], dict[str, str]]:
    """Layers by name in the order they run, and the layer each node belongs to."""
    layers: dict[str, Layer] = {}
    owner: dict[str, str] = {}
    for node in _in_order(graph):
        if node.op == "Const":
            continue
        data = [node_of(ref) for ref in node.inputs if graph[ref].op != "Const"]
        parameters = sum(graph[ref].value.size for ref in node.inputs if _is_weight(graph[ref]))
        fused = _FUSED.get(node.op) or ("scale" if node.op == "Mul" and len(data) == 1 else None)
        if fused and data[0] in owner and len(graph.consumers(data[0])) == 1 and graph[data[0]].op != "Placeholder":
            layer = layers[owner[data[0]]]
            layer.kind += f" + {fused}"
            layer.parameters += parameters
        else:
            shape, macs = shapes.shape(node.name), _macs(graph, node, shapes)
            layer = Layer(node.name, _kind(graph, node), shape, parameters, macs)
            layers[node.name] = layer
        owner[node.name] = layer.name
    return layers, owner


def _is_weight(node: Node) -> bool:
    return node.op == "Const" and node.value.dtype.kind == "f"


def _parameters(graph: Graph) -> int:
    return sum(node.value.size for node in graph if _is_weight(node) and graph.consumers(node.name))


def _in_order(graph: Graph) -> list[Node]:
    """Every node after its inputs; otherwise in the graph's order."""
    done: dict[str, Node] = {}
    for start in graph:
        todo = [start]
        while todo:
            waiting = [graph[ref] for ref in todo[-1].inputs if node_of(ref) not in done]
            if waiting:
                todo.append(waiting[0])
            else:
                node = todo.pop()
                done[node.name] = node
    return list(done.values())


def _kind(graph: Graph, node: Node) -> str:
    if node.op in ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput"):
        height, width = graph[node.inputs[1]].value.shape[:2]
        stride = list(node.attr("strides") or [1])
        return f"{node.op} {height}x{width}" + (f"/{max(stride)}" if max(stride) > 1 else "")
    return node.op


def _macs(graph: Graph, node: Node, shapes: Evaluator) -> int:
    if node.op not in ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput"):
        return 0
    kernel = graph[node.inputs[1]].value.shape  # [kh, kw, in, out]; of the transposed one [kh, kw, out, in]
    if node.op == "Conv2DBackpropInput":
        return prod(shapes.shape(node.inputs[2])) * prod(kernel[:3])
    per_output = prod(kernel[:2]) if node.op == "DepthwiseConv2dNative" else prod(kernel[:3])
    return prod(shapes.shape(node.name)) * per_output


def _peak(network: Network, layers: dict[str, Layer], owner: dict[str, str]) -> int:
    """Most bytes alive at once: an output lives until its last reader has run, the predictors' until the end."""
    order = {name: place for place, name in enumerate(layers)}
    last = dict(order)
    for node in network.graph:
        for ref in node.inputs:
            if node.name in owner and node_of(ref) in owner:
                source = owner[node_of(ref)]
                last[source] = max(last[source], order[owner[node.name]])
    for output in network.outputs:
        last[owner[node_of(output)]] = len(order)
    alive = [0] * (len(order) + 1)
    for name, layer in layers.items():
        for place in range(order[name], last[name] + 1):
            alive[place] += layer.bytes
    return max(alive)


def _normalization(params: PluginParams) -> Iterable[Layer]:
    if params.engine_normalize is not None:
        image = params.input
        yield Layer(
            "normalize", "Conv2D 1x1 + bias", (1, image.height, image.width, 3), 12, image.height * image.width * 9
        )


def _plugin_layers(uff: Uff, params: PluginParams) -> Iterable[Layer]:
    nodes = {node.id: node for node in uff.nodes}
    count, nms = params.num_priors, params.nms
    if "concat_priorbox" in nodes:
        held = 2 * count * 4 if nodes["concat_priorbox"].operation == "Const" else 0
        maker = "Const" if held else nodes["GridAnchor"].operation[1:]
        yield Layer("concat_priorbox", maker, (1, 2, count * 4, 1), held)
    yield Layer("concat_box_loc", "ConcatV2", (1, count * 4, 1, 1))
    yield Layer("concat_box_conf", "ConcatV2", (1, count * nms.num_classes, 1, 1))
    yield Layer("NMS", "NMS_TRT", (1, 1, nms.keep_top_k, 7))


def _rewrites(uff: Uff) -> Iterable[Change]:
    for rewrite in uff.rewrites:
        if rewrite.count:
            yield Change("rewritten", rewrite.count, f"{rewrite.name}: {rewrite.note}", rewrite.warning)


def _collapsed(graph: Graph, ssd: SsdGraph, network: Network) -> Iterable[Change]:
    """Where the frozen graph's nodes went that are no part of the network; together with its own they are all."""
    plain = graph.copy()
    drop_control_inputs(plain)
    simple, _ = simplify(graph)
    anchors = find_decoder(simple, Evaluator(simple)).anchors
    left = {node.name for node in plain}
    kept = left & set(network.graph.nodes)
    left -= kept
    yield Change("kept", len(kept), "nodes of the network, under their names")
    groups = (
        ([ssd.preprocessing.tensor], "nodes that prepare the image, into the node Input"),
        ([ssd.encodings, ssd.logits], "nodes of the network, by the rewrites above"),
        ([anchors] if anchors else [], "nodes that make the anchors, into the node concat_priorbox"),
    )
    for ends, text in groups:
        part = left & set(plain.ancestors(ends))
        left -= part
        if part:
            yield Change("collapsed", len(part), text)
    if left:
        yield Change("collapsed", len(left), "nodes of the post-processing and its leftovers, into the node NMS")


def _written_as(graph: Graph, uff: Uff) -> Iterable[Change]:
    """Operations that go by another name in UFF."""
    counts = Counter(
        (graph[node.id].op, _operation(node)) for node in uff.nodes if node.id in graph and node.operation != "Input"
    )
    for (old, new), count in sorted(counts.items()):
        if old != new and old != "Const":
            yield Change("written as", count, f"{old} as {new}")


def _operation(node: UffNode) -> str:
    function = node.fields.get("func")
    return f"{node.operation} {function}" if function else node.operation


def _unproven(uff: Uff) -> Iterable[Change]:
    for item in uff.unproven:
        names = ", ".join(item.nodes[:3]) + (", ..." if len(item.nodes) > 3 else "")
        yield Change("unproven", len(item.nodes), f"{item.pattern}: {item.reason} ({names})", True)


def as_text(explanation: Explanation) -> str:
    """The account as plain text: a table of layers, their sums, and a line per change."""
    layers = explanation.layers
    head = ("layer", "operation", "output", "parameters", "MACs", "activation")
    rows: list[tuple[Any, ...]] = [
        (layer.name, layer.kind, "x".join(map(str, layer.shape[1:])), f"{layer.parameters:,}", f"{layer.macs:,}",
         _size(layer.bytes))
        for layer in layers
    ]  # fmt: skip
    macs = sum(layer.macs for layer in layers)
    held, total = explanation.parameters, explanation.total_bytes
    rows.append(("in all", f"{len(layers)} layers", "", f"{held:,}", f"{macs:,}", _size(total)))
    lines = [_columns(head, rows), "", f"weights: {_size(held * _FLOAT_BYTES)} in fp32"]
    peak = explanation.peak_bytes
    lines.append(
        f"activations, estimated: {_size(peak)} at once at most in fp32, {_size(peak // 2)} in fp16; "
        f"{_size(total)} where no memory is used again"
    )
    lines += ["", "what was done to the graph:"]
    width = max((len(f"{change.count:,}") for change in explanation.changes), default=1)
    lines += [
        f"  {change.kind:<10}  {change.count:>{width},}  {'WARNING: ' if change.warning else ''}{change.text}"
        for change in explanation.changes
    ]
    return "\n".join([*lines, *(f"note: {note}" for note in explanation.notes)])


def _columns(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    sides = "<<<>>>"  # texts to the left, numbers to the right
    lines = ("  ".join(f"{cell:{side}{w}}" for cell, side, w in zip(row, sides, widths)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def _size(count: int) -> str:
    if count < 10 << 10:
        return f"{count / 1024:.1f} KiB"
    return f"{count / 1024:,.0f} KiB" if count < 1 << 20 else f"{count / (1 << 20):,.1f} MiB"
