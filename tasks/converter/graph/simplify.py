"""The rewrites that every reader of a graph wants first, in their order."""

from __future__ import annotations

from jetlane.tasks.converter.graph.arity import check_arity
from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.rewrites.conditionals import resolve_conditionals
from jetlane.tasks.converter.graph.rewrites.control_inputs import drop_control_inputs
from jetlane.tasks.converter.graph.rewrites.fake_quant import remove_fake_quant
from jetlane.tasks.converter.graph.rewrites.identities import forward_identities
from jetlane.tasks.converter.graph.rewrites.sums import split_sums


def simplify(graph: Graph) -> tuple[Graph, tuple[Applied, ...]]:
    """A copy of the graph without control edges, constant conditions, Identities, simulated quantisation and AddN.

    Nodes keep their names, so a tensor found in the result can be fetched from the original graph too.

    Raises:
        GraphError: A node lacks inputs.
    """
    result = graph.copy()
    dropped = drop_control_inputs(result)
    check_arity(result)
    steps = (split_sums, resolve_conditionals, forward_identities, remove_fake_quant)
    return result, (dropped, *(step(result) for step in steps))
