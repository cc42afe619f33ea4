"""What a score conversion does before its softmax or sigmoid, moved into the class predictors' weights.

The plugin and UFF's Softmax take logits as they are. A logit scale is a factor on kernel and bias. Graphs of 2017 leave
the background out of their softmax: a background logit of -10000, whose exponential is zero, has the same effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.rewrites import Applied

#: Fits float16, and its distance to any real logit makes the exponential exactly zero.
MUTED = -1e4


def prepare_class_logits(
    graph: Graph, outputs: Sequence[str], num_classes: int, logit_scale: float, mute_background: bool
) -> Applied:
    """Rewrite the class convolutions.

    Args:
        outputs: The class predictors' outputs, each a convolution, with or without a BiasAdd.

    Raises:
        ConversionError: A predictor is not of that form.
    """
    if logit_scale == 1.0 and not mute_background:
        return Applied("class logits", 0, "nothing to change")
    done: set[str] = set()
    for output in outputs:
        _add_bias(graph, output)
        bias_add = graph[output]
        convolution = graph[bias_add.inputs[0]] if bias_add.inputs else bias_add
        if bias_add.op != "BiasAdd" or convolution.op != "Conv2D" or graph[convolution.inputs[1]].op != "Const":
            raise ConversionError(
                f"the class predictor {output!r} is no convolution with a bias",
                "its logits have to be changed before scores are made",
                "",
            )
        for name in (convolution.inputs[1], bias_add.inputs[1]):
            if name not in done:  # levels may share them
                done.add(name)
                graph.add(const(name, _changed(graph[name], num_classes, logit_scale, mute_background)))
    what = "background left out of the softmax" if mute_background else "logit scale folded"
    return Applied("class logits", len(done), what)


def _add_bias(graph: Graph, output: str) -> None:
    """A bias for a convolution that has none: tools that simplify graphs take one away that is zero."""
    convolution = graph[output]
    if convolution.op != "Conv2D" or graph[convolution.inputs[1]].op != "Const":
        return
    channels = graph[convolution.inputs[1]].value.shape[3]
    moved = convolution.copy()
    moved.name = graph.unused_name(f"{output}/convolution")
    graph.add(moved)
    bias = graph.add(const(graph.unused_name(f"{output}/bias"), np.zeros(channels, np.float32)))
    graph.add(Node(output, "BiasAdd", [moved.name, bias.name], {"data_format": convolution.attr("data_format")}))


def _changed(node: Node, num_classes: int, logit_scale: float, mute_background: bool) -> np.ndarray[Any, Any]:
    values = node.value.astype(np.float64) / logit_scale
    if mute_background:
        columns = values.reshape(*values.shape[:-1], -1, num_classes)
        columns[..., 0] = MUTED if values.ndim == 1 else 0.0
    return values.astype(np.float32)
