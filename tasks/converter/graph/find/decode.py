"""The box decoder: where encodings and anchors enter it, and the coder's scales.

A Faster R-CNN box coder leaves two exponentials, of the encoded height and width, each divided by its scale and
multiplied by the anchor's side. Both come out of one Unpack of the transposed encodings; the sides come from an Unpack
of the anchors. Where constants were folded, the anchors may be left as their centres and sides alone
(:mod:`folded_anchors`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.folded_anchors import find_folded_anchors
from jetlane.tasks.converter.graph.find.walk import nearest, upstream
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of, port_of

_TO_ENCODINGS = ("Transpose", "Reshape", "Squeeze", "ExpandDims")
_TO_ANCHORS = ("Transpose", "Reshape", "Tile", "ExpandDims")


@dataclass(frozen=True)
class Decoder:
    """Tensors and numbers of the box decoder.

    Attributes:
        encodings: Tensor of box encodings [N, anchors, 4], before the decoder reshapes it.
        anchors: Tensor [anchors, 4] or [1, anchors, 4] of ymin, xmin, ymax, xmax; None where constants were folded.
        scales: Box coder scales y, x, h, w.
        folded: The anchors themselves in the place of ``anchors``, float32 [anchors of all images of a batch, 4].
    """

    encodings: str
    anchors: Optional[str]
    scales: tuple[float, float, float, float]
    folded: Optional[np.ndarray[Any, Any]] = None


def find_decoder(graph: Graph, evaluator: Evaluator) -> Decoder:
    """The decoder of the graph.

    Raises:
        GraphError: There is none of the expected form.
    """
    found: dict[tuple[str, Optional[str]], Decoder] = {}
    for exponential in graph.of("Exp"):
        codes = _unpacked(graph, evaluator, exponential.inputs[0])
        if codes is None:
            continue
        for product in graph.consumers(exponential.name):
            other = [ref for ref in product.inputs if node_of(ref) != exponential.name]
            if product.op != "Mul" or len(other) != 1:
                continue
            encodings = upstream(graph, codes.inputs[0], _TO_ENCODINGS[:2])
            sides = nearest(graph, other[0], lambda node: node.op == "Unpack")
            if sides is None:
                folded = find_folded_anchors(graph, evaluator, codes)
                if folded is not None:
                    found[encodings, None] = Decoder(encodings, None, folded.scales, folded.anchors)
                continue
            anchors = upstream(graph, sides.inputs[0], _TO_ANCHORS)
            found[encodings, anchors] = Decoder(encodings, anchors, _scales(graph, evaluator, codes))
    if len(found) != 1:
        raise GraphError(
            f"{len(found)} box decoders were found where one is expected",
            "the graph is no SSD with a faster_rcnn_box_coder of four codes, or its post-processing was cut off",
            "export it with export_inference_graph, from a pipeline whose model is `ssd`",
        )
    return next(iter(found.values()))


def _unpacked(graph: Graph, evaluator: Evaluator, ref: str) -> Node | None:
    """The Unpack whose output reaches a tensor through nothing but a constant scale."""
    for _ in range(3):
        node = graph[ref]
        if node.op == "Unpack":
            return node if port_of(ref) in (2, 3) else None
        data = [r for r in node.inputs if evaluator.value(r) is None]
        if node.op not in ("RealDiv", "Mul", "Div") or len(data) != 1:
            return None
        ref = data[0]
    return None


def _scales(graph: Graph, evaluator: Evaluator, codes: Node) -> tuple[float, float, float, float]:
    scales = [1.0, 1.0, 1.0, 1.0]
    for reader in graph.consumers(codes.name):
        refs = [ref for ref in reader.inputs if node_of(ref) == codes.name]
        constants = [evaluator.value(ref) for ref in reader.inputs if evaluator.value(ref) is not None]
        if len(refs) != 1 or len(constants) != 1 or constants[0] is None or constants[0].size != 1:
            continue
        number = np.float32(np.ravel(constants[0])[0])
        if reader.op in ("RealDiv", "Div") and reader.inputs[0] == refs[0]:
            scales[port_of(refs[0])] = float(number)
        elif reader.op == "Mul" and number:
            scales[port_of(refs[0])] = float(np.float32(1) / number)
    if not all(np.isfinite(scale) and scale > 0 for scale in scales):
        raise GraphError(
            f"the box coder's scales are {scales}", "scales are positive numbers", "export the graph again"
        )
    return scales[0], scales[1], scales[2], scales[3]
