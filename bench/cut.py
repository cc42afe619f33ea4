"""A frozen graph cut at the network's input, so that no rival pays for resizing: ``Input`` float32 [1, H, W, 3] instead
of an image of any size. TensorFlow runs it; tf2onnx and OpenVINO convert it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

INPUT = "Input"
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
_PREPROCESSOR = "Preprocessor/"
_FLOAT, _INT32 = 1, 3  # tensorflow.DataType


def cut(graph: Path) -> bytes:
    """The graph from the network's input to its final detections, a serialised GraphDef.

    The one other thing that leaves the preprocessor is the image's true shape, int32 [1, 3]; it becomes a constant.

    Raises:
        GraphError: The graph cannot be read, or is no SSD.
        ValueError: Something else still needs the image.
    """
    from jetlane.tasks.converter.graph.graph import node_of
    from jetlane.tasks.converter.graph.load import graph_from_message, read_graph_def
    from jetlane.tasks.converter.graph.ssd import read_ssd

    message = read_graph_def(graph)
    ssd = read_ssd(graph_from_message(message))
    begin, (height, width) = node_of(ssd.preprocessing.tensor), ssd.input_size
    nodes = {node.name: node for node in message.node}
    kept: dict[str, Any] = {}
    shapes: set[str] = set()
    todo = list(OUTPUTS)
    while todo:
        name = todo.pop()
        if name in kept or name == begin or name in shapes:
            continue
        if name.startswith(_PREPROCESSOR):
            shapes.add(name)
            continue
        kept[name] = nodes[name]
        todo.extend(node_of(ref) for ref in nodes[name].input)
    left = [node.name for node in kept.values() if node.op == "Placeholder"]
    if left or len(shapes) > 1:
        raise ValueError(f"{graph} cannot be cut at {begin}: {left + sorted(shapes)} are needed too")
    result = type(message)(versions=message.versions)
    _placeholder(result.node.add(name=INPUT), (1, height, width, 3))
    for name in shapes:
        _shape(result.node.add(name=name), (height, width, 3))
    for node in message.node:
        if node.name in kept:
            copy = result.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [INPUT if node_of(ref) == begin else ref for ref in node.input]
    return bytes(result.SerializeToString())


def _placeholder(node: Any, shape: tuple[int, ...]) -> None:
    node.op = "Placeholder"
    node.attr["dtype"].type = _FLOAT
    for size in shape:
        node.attr["shape"].shape.dim.add(size=size)


def _shape(node: Any, shape: tuple[int, ...]) -> None:
    node.op = "Const"
    node.attr["dtype"].type = _INT32
    tensor = node.attr["value"].tensor
    tensor.dtype = _INT32
    for size in (1, len(shape)):
        tensor.tensor_shape.dim.add(size=size)
    tensor.int_val.extend(shape)
