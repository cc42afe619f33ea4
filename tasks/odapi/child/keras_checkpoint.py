"""What of an object-based checkpoint (TensorFlow 2's; ``ckpt-0`` of the zoo) fits a Keras model.

``tf.train.Checkpoint.restore`` gives up at the first variable of another shape, such as the class head of other data.
So the checkpoint's graph of objects and the model's are walked side by side, by the names of attributes, as it does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from .errors import JobError

_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


def load(model: Any, checkpoint: str, kind: str, assign: bool = True) -> dict[str, Any]:
    """Give a built detection model all that fits of a detector's checkpoint, or the backbone of a classifier's.

    Args:
        checkpoint: Its prefix.
        kind: ``fine_tune_checkpoint_type``: with ``detection``, a detector's predictor is left out, as the OD API does.
        assign: Otherwise it is only told what would be loaded.

    Returns:
        ``loaded`` (count), ``skipped``: {"name", "model" (shape), "checkpoint" (shape, or None where absent)} each.

    Raises:
        JobError: The checkpoint cannot be read, is none of TensorFlow 2, or has nothing for this model.
    """
    reader = _reader(checkpoint)
    shapes = reader.get_variable_to_shape_map()
    loaded, skipped = 0, []
    for variable, key in _pairs(model, reader.get_tensor(_OBJECTS), kind):
        if key in shapes and list(variable.shape) == shapes[key]:
            loaded += 1
            if assign:
                variable.assign(reader.get_tensor(key))
        else:
            name, shape = variable.name.split(":")[0], variable.shape.as_list()
            skipped.append({"name": name, "model": shape, "checkpoint": shapes.get(key)})
    if not loaded:
        raise JobError(
            f"nothing of {checkpoint} fits this model",
            "no variable of the same place and shape is in it",
            "give a checkpoint of the same architecture, or none to train from scratch",
        )
    return {"loaded": loaded, "skipped": sorted(skipped, key=lambda one: str(one["name"]))}


def _reader(checkpoint: str) -> Any:
    import tensorflow as tf

    remedy = "give the prefix of a checkpoint of TensorFlow 2, such as checkpoint/ckpt-0, without .index or .data"
    try:
        reader = tf.train.load_checkpoint(checkpoint)
    except Exception as error:  # a damaged file fails in many ways
        raise JobError(f"the checkpoint {checkpoint} cannot be read", str(error).split("\n")[0], remedy) from error
    if not reader.has_tensor(_OBJECTS):
        why = "it is a checkpoint of TensorFlow 1 (variables by name); the model is a Keras model"
        raise JobError(f"the checkpoint {checkpoint} is of another kind", why, remedy)
    return reader


def _pairs(model: Any, serialised: bytes, kind: str) -> Iterator[tuple[Any, Any]]:
    """Each variable of the model, or of its part that the checkpoint is of, with its key there, or None."""
    import tensorflow as tf
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(serialised).nodes
    root = _children(nodes, 0)
    start: tuple[Any, Any]
    if "model" in root:
        start = (model, root["model"])
    else:
        start = (model._feature_extractor.classification_backbone, root.get("feature_extractor"))
    seen = {id(start[0])}
    waiting = deque([start])
    while waiting:
        thing, node = waiting.popleft()
        if isinstance(thing, tf.Variable):
            yield thing, None if node is None else _key(nodes[node])
            continue
        there = {} if node is None else _children(nodes, node)
        for name, child in tf.train.TrackableView.children(thing).items():
            if id(child) not in seen and not (thing is model and kind == "detection" and name == "_box_predictor"):
                seen.add(id(child))
                waiting.append((child, there.get(name)))


def _children(nodes: Any, node: int) -> dict[str, int]:
    return {child.local_name: child.node_id for child in nodes[node].children}


def _key(node: Any) -> Any:
    return next((one.checkpoint_key for one in node.attributes if one.name == _VALUE), None)
