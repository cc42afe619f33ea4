"""Fused batch norm as what it is at inference: one multiplication and one addition per channel.

Unfused batch norm needs no rewrite of its own: once constants are folded it is the same multiplication and addition,
and so is the folded form that quantisation-aware training leaves behind.
"""

from __future__ import annotations

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.rewrites import Applied

_FUSED = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


def split_batch_norms(graph: Graph, evaluator: Evaluator) -> Applied:
    """Turn each fused batch norm with constant statistics into Mul and Add, in float64 until stored."""
    count = 0
    for node in graph.of(*_FUSED):
        values = [evaluator.value(ref) for ref in node.inputs[1:5]]
        if node.attr("is_training", True) or any(value is None or value.size == 0 for value in values):
            continue  # statistics of the batch: not an inference graph; the converter will name it
        if len({value.shape for value in values if value is not None}) != 1:
            raise GraphError(f"the parameters of {node.name!r} differ in their shapes", "", "export the graph again")
        gamma, beta, mean, variance = (np.asarray(value, np.float64) for value in values)
        spread = variance + float(node.attr("epsilon", 1e-3))
        if not np.all(spread > 0):
            raise GraphError(f"the batch norm {node.name!r} has a negative variance", "", "export the graph again")
        scale = gamma / np.sqrt(spread)
        data_format = {"data_format": node.attr("data_format", "NHWC")}
        factor = graph.add(const(graph.unused_name(f"{node.name}/scale"), scale.astype(np.float32)))
        summand = graph.add(const(graph.unused_name(f"{node.name}/offset"), (beta - mean * scale).astype(np.float32)))
        product = graph.add(
            Node(graph.unused_name(f"{node.name}/mul"), "Mul", [node.inputs[0], factor.name], data_format)
        )
        graph.add(Node(node.name, "BiasAdd", [product.name, summand.name], data_format))
        count += 1
    return Applied("batch norm", count, "fused batch norms split into scale and offset")
