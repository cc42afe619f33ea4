"""What the original converter does by itself before it converts, and what a parser needs besides."""

from __future__ import annotations

from collections import Counter
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.dropin.dynamic_graph import DynamicGraph
from jetlane.tasks.converter.dropin.nodes import create_node
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, const, node_of
from jetlane.tasks.converter.graph.load import graph_from_message
from jetlane.tasks.converter.graph.rewrites.fake_quant import FAKE_QUANT, remove_fake_quant
from jetlane.tasks.converter.graph.tensors import to_numpy
from jetlane.tasks.converter.uff.parser_forms import image_shapes

#: Where a TensorFlow 1 softmax of any rank is spread over: it brings the tensor to two dimensions and back.
_SOFTMAX_CHAIN = ("Sub", "Pack", "Slice", "ConcatV2", "Reshape", "Softmax", "Reshape")


def fold_dilated_convolutions(graph: DynamicGraph) -> int:
    """A convolution between SpaceToBatchND and BatchToSpaceND becomes one with dilations. Returns how many did.

    SpaceToBatchND pads, and deals the pixels out to as many images as the block has places; BatchToSpaceND puts them
    back, and crops. So the block is the dilation, and what is padded but not cropped is the convolution's own padding:
    none (VALID), or what SAME takes for the spread kernel. Anything else is left as it is.
    """
    folded = 0
    for spread, conv, gathered in graph.find_node_chains_by_op(["SpaceToBatchND", "Conv2D", "BatchToSpaceND"]):
        given = [_constant(graph, ref) for ref in (*spread.input[1:3], gathered.input[2], conv.input[1])]
        block, pads, crops, kernel = given
        if block is None or pads is None or crops is None or kernel is None or block.size != 2 or kernel.ndim != 4:
            continue
        margin = pads - crops
        reach = (np.array(kernel.shape[:2]) - 1) * block
        if not margin.any():
            padding = b"VALID"
        elif np.array_equal(margin, np.stack([reach // 2, reach - reach // 2], axis=1)):
            padding = b"SAME"
        else:
            continue
        conv.attr["padding"].s = padding
        conv.attr["dilations"].list.i[:] = [1, *block.tolist(), 1]
        del spread.input[1:], gathered.input[1:]
        graph.forward_inputs([spread, gathered])
        folded += 1
    return folded


def fold_softmax(graph: DynamicGraph) -> int:
    """A softmax with the reshapes that TensorFlow 1 puts around it becomes one Softmax. Returns how many did."""
    chains = graph.find_node_chains_by_op(_SOFTMAX_CHAIN)
    for chain in chains:
        flattened, softmax, restored = chain[4:]
        if softmax.input[0] == flattened.name:
            softmax.input[0] = flattened.input[0]
        del restored.input[1:]
        graph.forward_inputs(restored)
    return len(chains)


def take_out_fake_quant(graph: Graph) -> int:
    """Take simulated quantisation out of a quantisation-aware graph. Returns how many activations had it.

    Weights are folded with theirs: they are those that training ended with, on the grid.
    """
    if not graph.of(*FAKE_QUANT):
        return 0
    removed = remove_fake_quant(graph).count
    evaluator = Evaluator(graph)
    for node in graph.of("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "BiasAdd"):
        value = evaluator.value(node.inputs[1]) if len(node.inputs) > 1 else None
        if value is not None and graph[node.inputs[1]].op != "Const":
            node.inputs[1] = graph.add(const(graph.unused_name(f"{node.name}/folded"), value)).name
    graph.changed()
    return removed


def drop_input_references(graph: DynamicGraph) -> int:
    """Placeholders read nothing; references of theirs to nodes that are gone are dropped. Returns how many were."""
    known = graph.node_map
    dropped = 0
    for node in graph.graph_inputs:
        kept = [ref for ref in node.input if node_of(ref) in known]
        dropped += len(node.input) - len(kept)
        node.input[:] = kept
    return dropped


def settle_reshapes(graph: DynamicGraph) -> int:
    """Write sizes in the place of -1 where an SSD's predictors reshape.

    A graph exported for images of any size has them, but the parser takes one unknown size, the batch. The sizes follow
    from the input's.

    Returns:
        The number of reshapes with a size written.
    """
    if not graph.find_nodes_by_op("NMS_TRT"):
        return 0
    readable = graph_from_message(graph.as_graph_def())
    evaluator = Evaluator(readable, image_shapes(readable))
    nodes, settled = graph.node_map, 0
    readers = Counter(node_of(node.input[1]) for node in graph if node.op == "Reshape" and len(node.input) > 1)
    for reshape in graph.find_nodes_by_op("Reshape"):
        pack = nodes.get(node_of(reshape.input[1])) if len(reshape.input) > 1 else None
        if pack is None or pack.op != "Pack" or readers[pack.name] > 1:
            continue
        open_sizes = unknown_sizes(readable, pack.name)
        shape = evaluator.fact(reshape.name).shape if len(open_sizes) > 1 else None
        if shape is None or len(shape) != len(pack.input):
            continue
        for index in open_sizes[1:]:
            size = create_node(f"{pack.name}/{index}_settled", "Const", dtype=3, value=np.array(shape[index], np.int32))
            graph.append(size)
            pack.input[index] = size.name
        settled += 1
    return settled


def unknown_sizes(graph: Graph, pack: str) -> list[int]:
    """Which sizes of a reshape's Pack are not fixed: those computed, and -1."""
    return [
        index
        for index, ref in enumerate(graph[pack].inputs)
        if graph[ref].op != "Const" or (graph[ref].value.size == 1 and graph[ref].value.item() == -1)
    ]


def _constant(graph: DynamicGraph, ref: str) -> Optional[np.ndarray[Any, Any]]:
    """The value of a constant, seen through the Identity that a frozen variable is read by."""
    nodes = graph.node_map
    found = nodes.get(node_of(ref))
    if found is not None and found.op == "Identity" and found.input:
        found = nodes.get(node_of(found.input[0]))
    return to_numpy(found.attr["value"].tensor, found.name) if found is not None and found.op == "Const" else None
