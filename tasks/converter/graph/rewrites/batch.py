"""A network that was exported for several images at once, as one for a single image.

Where batch is all that is fixed, it stands in the constant shapes of reshapes (and of what else is told a whole shape)
and nowhere else: each layer treats its images alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, const, node_of
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.shape_ops import Shape

Array = np.ndarray[Any, Any]

#: Operations that are told a whole shape -> (input with the data, input with the shape).
_SHAPED = {"Reshape": (0, 1), "Slice": (0, 2), "Conv2DBackpropInput": (2, 0)}


def cut_batch_to_one(graph: Graph, entry: str, outputs: Iterable[str], shape: Shape, batch: Optional[int]) -> Applied:
    """Let every constant shape that begins with the batch begin with 1, where the data's first dimension is the batch.

    Args:
        entry: The tensor that enters the network.
        outputs: The tensors that are wanted of the network; what does not lead to them is left alone.
        shape: Shape of the entry for a single image.
        batch: Images that the graph takes at once; None where any number.
    """
    found: list[tuple[Node, int, Array]] = []
    if batch is not None and batch > 1:
        evaluator = Evaluator(graph, {entry: (batch, *shape[1:])})
        network = graph.descendants([node_of(entry)]) & set(graph.ancestors(outputs, stop=[node_of(entry)]))
        for node in graph.of(*_SHAPED):
            data, place = _SHAPED[node.op]
            if node.name not in network or node_of(node.inputs[data]) not in network:
                continue
            known, wanted = evaluator.fact(node.inputs[data]).shape, evaluator.value(node.inputs[place])
            if known and known[0] == batch and wanted is not None and wanted.ndim == 1 and wanted[:1] == batch:
                found.append((node, place, wanted))
    for node, place, wanted in found:  # only now: what was worked out holds for the graph as it was
        single = np.concatenate([np.ones(1, wanted.dtype), wanted[1:]])
        node.inputs[place] = graph.add(const(graph.unused_name(f"{node.name}/single"), single)).name
    graph.changed()
    return Applied("batch", len(found), f"shapes for {batch} images at once made those for one")
