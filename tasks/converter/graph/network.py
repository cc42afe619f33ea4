"""The network of an SSD alone: from its input to the predictors' outputs, in few and plain operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, TfShape, node_of
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.rewrites.affine import fold_affine
from jetlane.tasks.converter.graph.rewrites.batch import cut_batch_to_one
from jetlane.tasks.converter.graph.rewrites.batch_norm import split_batch_norms
from jetlane.tasks.converter.graph.rewrites.class_logits import prepare_class_logits
from jetlane.tasks.converter.graph.rewrites.constants import fold_constants
from jetlane.tasks.converter.graph.rewrites.depthwise import widen_depthwise
from jetlane.tasks.converter.graph.rewrites.paddings import absorb_paddings, zeros_to_pads
from jetlane.tasks.converter.graph.rewrites.upsampling import upsample_by_convolution
from jetlane.tasks.converter.graph.shape_ops import Shape
from jetlane.tasks.converter.graph.simplify import simplify
from jetlane.tasks.converter.graph.ssd import SsdGraph


@dataclass(frozen=True)
class Network:
    """A network ready to be written in another format.

    Attributes:
        graph: Its nodes; the input is a Placeholder of the given name, [1, H, W, 3].
        outputs: Box and class output of each level, in turn.
        rewrites: What was done, in order.
    """

    graph: Graph
    outputs: tuple[str, ...]
    rewrites: tuple[Applied, ...]

    def shapes(self, input_name: str, input_shape: Shape) -> Evaluator:
        """Static shapes of the network's tensors."""
        return Evaluator(self.graph, {input_name: input_shape})


def extract_network(graph: Graph, ssd: SsdGraph, input_name: str = "Input") -> Network:
    """Cut the network out of a frozen graph and rewrite it.

    Raises:
        GraphError: The network depends on something besides its input, or its weights are no numbers that can be.
    """
    simple, rewrites = simplify(graph)
    entry = ssd.preprocessing.tensor
    outputs = tuple(name for head in ssd.heads for name in (head.boxes, head.classes))
    batch = cut_batch_to_one(simple, entry, outputs, (1, *ssd.input_size, 3), ssd.preprocessing.batch)
    if input_name in simple:
        raise GraphError(
            f"the graph has a node called {input_name!r} already", "that is the name of the network's input", ""
        )
    simple.redirect({entry: input_name, f"{entry}:0": input_name})
    shape = (1, *ssd.input_size, 3)
    simple.add(Node(input_name, "Placeholder", (), {"dtype": FLOAT, "shape": TfShape(shape)}))
    network = _part(simple, outputs)
    _refuse_loops(network)
    foreign = [
        n
        for n in network
        if n.name != input_name and n.op in ("Placeholder", "TensorArrayGatherV3", "TensorListStack", "Enter")
    ]
    if foreign:
        raise GraphError(
            "the network depends on more than its input", f"{foreign[0].op} {foreign[0].name!r} feeds it as well", ""
        )
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            network, steps = _rewritten(network, ssd, outputs)
    except FloatingPointError as error:
        raise GraphError(
            "the network's weights leave what float32 holds",
            f"{error} while they were folded: the training may have diverged, or the file is damaged",
            "export the graph again, from an earlier checkpoint",
        ) from error
    return Network(network, outputs, (*rewrites, batch, *steps))


def _rewritten(network: Graph, ssd: SsdGraph, outputs: tuple[str, ...]) -> tuple[Graph, list[Applied]]:
    """The network in plain operations, and what was done."""
    steps = [fold_constants(network, Evaluator(network))]
    network = _part(network, outputs)
    _check_kernels(network)
    for step in (split_batch_norms, zeros_to_pads, absorb_paddings):
        steps.append(step(network, Evaluator(network)))
    steps.append(upsample_by_convolution(network, Evaluator(network), outputs))
    steps.append(widen_depthwise(network))
    network = _part(network, outputs)
    steps.append(fold_affine(network, outputs))
    steps.append(
        prepare_class_logits(
            network,
            [head.classes for head in ssd.heads],
            ssd.num_classes,
            ssd.scores.logit_scale,
            ssd.scores.converter == "SOFTMAX" and ssd.scores.without_background,
        )
    )
    return _part(network, outputs), steps


def _check_kernels(graph: Graph) -> None:
    for node in graph.of("Conv2D", "DepthwiseConv2dNative"):
        kernel = graph[node.inputs[1]]
        if kernel.op != "Const" or kernel.value.ndim != 4 or not kernel.value.size:
            raise GraphError(
                f"the kernel of {node.op} {node.name!r} is no constant of four dimensions",
                f"{kernel.op} {kernel.name!r} makes it",
                "freeze the graph for inference, and export it again",
            )


def _refuse_loops(graph: Graph) -> None:
    """A network is taken off input by input until nothing is left; what is left otherwise goes in circles."""
    waiting = {node.name: {node_of(ref) for ref in node.inputs} for node in graph}
    ready = [name for name, inputs in waiting.items() if not inputs]
    while ready:
        name = ready.pop()
        del waiting[name]
        for reader in {node.name for node in graph.consumers(name)}:
            waiting[reader].discard(name)
            if not waiting[reader]:
                ready.append(reader)
    if waiting:
        raise GraphError(
            "the network contains a loop", f"{next(iter(waiting))!r} is part of it", "export the graph again"
        )


def _part(graph: Graph, outputs: tuple[str, ...]) -> Graph:
    """The nodes that the outputs depend on, in the graph's order."""
    needed = graph.ancestors(outputs)
    return Graph(node for node in graph if node.name in needed)
