"""How many inputs operations have: a graph that passes can be looked at without fear of missing edges."""

from __future__ import annotations

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.graph import Graph

_ONE = (
    "Identity StopGradient Relu Relu6 Sigmoid Softmax Exp Unpack Squeeze Shape Cast MaxPool AvgPool Enter Exit "
    "NextIteration"
)
_TWO = (
    "Add AddV2 Sub Mul RealDiv Div Minimum Maximum Greater Conv2D DepthwiseConv2dNative BiasAdd Reshape Transpose Tile "
    "ExpandDims Pad ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea Switch Mean Sum MatMul "
    "TensorListStack"
)
_THREE = "Slice TensorArrayGatherV3 TensorArrayReadV3 Conv2DBackpropInput Select PadV2 FakeQuantWithMinMaxVars"
_EXACT = {
    **dict.fromkeys(_ONE.split(), 1),
    **dict.fromkeys(_TWO.split(), 2),
    **dict.fromkeys(_THREE.split(), 3),
    "StridedSlice": 4,
    "TensorArrayScatterV3": 4,
    "TensorArrayWriteV3": 4,
    "FusedBatchNorm": 5,
    "FusedBatchNormV2": 5,
    "FusedBatchNormV3": 5,
    "NonMaxSuppressionV3": 5,
    "NonMaxSuppressionV4": 5,
    "NonMaxSuppressionV5": 6,
    "CombinedNonMaxSuppression": 6,
}
_AT_LEAST = {
    "ConcatV2": 2,
    "Concat": 2,
    "Pack": 1,
    "AddN": 1,
    "Merge": 1,
    "NonMaxSuppression": 3,
    "NonMaxSuppressionV2": 4,
}


def check_arity(graph: Graph) -> None:
    """Check every node whose number of inputs is known; control inputs must have been dropped.

    Raises:
        GraphError: A node has too few or too many, or reads a node that does not exist.
    """
    for node in graph:
        count = len(node.inputs)
        if count != _EXACT.get(node.op, count) or count < _AT_LEAST.get(node.op, 0):
            raise GraphError(
                f"{node.op} {node.name!r} has {count} inputs",
                f"it takes {_EXACT.get(node.op, _AT_LEAST.get(node.op))}: the file is damaged or was edited",
                "export the graph again",
            )
        for ref in node.inputs:
            graph[ref]  # raises where there is none
