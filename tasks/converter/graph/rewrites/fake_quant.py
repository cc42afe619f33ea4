"""Take simulated quantisation out of a quantisation-aware graph.

Ranges of activations are dropped: the engine chooses its own precision, and UFF has no such operation. Simulated
quantisation of weights is part of the constant expression that makes them and is kept, by folding: the weights that
training ended with are those on the grid.
"""

from __future__ import annotations

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.graph.rewrites import Applied

FAKE_QUANT = (
    "FakeQuantWithMinMaxVars",
    "FakeQuantWithMinMaxVarsPerChannel",
    "FakeQuantWithMinMaxArgs",
    "QuantizeAndDequantizeV2",
    "QuantizeAndDequantizeV3",
)


def remove_fake_quant(graph: Graph) -> Applied:
    evaluator = Evaluator(graph)
    activations = [node for node in graph.of(*FAKE_QUANT) if evaluator.value(node.name) is None]
    graph.redirect({name: node.inputs[0] for node in activations for name in (node.name, f"{node.name}:0")})
    return Applied(
        "fake quantisation",
        len(activations),
        "simulated quantisation of activations removed; boxes and scores move by its rounding",
        warning=bool(activations),
    )
