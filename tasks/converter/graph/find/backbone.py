"""What family of networks a graph's feature extractor is of, by its operations alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node

#: MobileNet v2 adds the input of ten of its blocks to their output, ResNets that of all; a feature pyramid adds the
#: map above to that below, four times at most.
_LEAST_RESIDUALS = 8
#: MobileNet v3 weights channels and computes hard-swish by multiplying two tensors, in most blocks.
_LEAST_PRODUCTS = 5
_LEAST_CONCATENATIONS = 4

MOBILENET_V1, MOBILENET_V2, MOBILENET_V3 = "MobileNet v1", "MobileNet v2", "MobileNet v3"
RESNET, INCEPTION = "ResNet", "Inception"


def find_backbone(graph: Graph, evaluator: Evaluator, entry: str, outputs: Sequence[str]) -> Optional[str]:
    """The family of what lies between the network's input and its predictors; None for none of those known.

    Args:
        evaluator: Of the graph, with nothing given: what it knows are constants.
        entry: The tensor that enters the network.
        outputs: The predictors' outputs.
    """
    names = set(graph.ancestors(outputs, stop=[entry]))
    network = [node for node in graph if node.name in names]
    depthwise = any(node.op == "DepthwiseConv2dNative" for node in network)
    sums = _of_two(evaluator, network, ("Add", "AddV2"))
    products = _of_two(evaluator, network, ("Mul",))
    joined = sum(node.op in ("ConcatV2", "Concat") and len(node.inputs) > 3 for node in network)
    if joined >= _LEAST_CONCATENATIONS:
        return INCEPTION
    if not depthwise:
        return RESNET if sums >= _LEAST_RESIDUALS else None
    if products >= _LEAST_PRODUCTS:
        return MOBILENET_V3
    return MOBILENET_V2 if sums >= _LEAST_RESIDUALS else MOBILENET_V1


def _of_two(evaluator: Evaluator, network: list[Node], ops: tuple[str, ...]) -> int:
    """How many of these operations take two tensors that are no constants."""
    chosen = [node for node in network if node.op in ops and len(node.inputs) == 2]
    return sum(all(evaluator.value(ref) is None for ref in node.inputs) for node in chosen)
