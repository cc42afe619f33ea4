"""Run a frozen graph in TensorFlow on original-size images: the reference every conversion is held against."""

from __future__ import annotations

import io
import time
from typing import Any

from . import compat
from .errors import JobError

_FETCHES = ("detection_boxes", "detection_classes", "detection_scores", "num_detections")


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Infer, one image after the other in one session.

    Args:
        arguments: ``frozen_graph``; ``images``: .npy files, uint8 [H, W, 3] RGB; ``out``: an .npz that gets
            ``counts`` [images], ``boxes`` float32 [all, 4] (xmin, ymin, xmax, ymax in 0..1 of the original image),
            ``labels`` int32 [all] and ``scores`` float32 [all].
    """
    compat.require("tensorflow")
    import numpy as np
    import tensorflow.compat.v1 as tf

    graph = _load(arguments["frozen_graph"])
    boxes: list[Any] = []
    labels: list[Any] = []
    scores: list[Any] = []
    started = time.time()
    with tf.Session(graph=graph) as session:
        feed, encode = _input(graph, arguments["frozen_graph"])
        fetches = {name: graph.get_tensor_by_name(name + ":0") for name in _FETCHES}
        for path in arguments["images"]:
            image = np.load(path)
            found = session.run(fetches, {feed: [encode(image)]})
            count = int(found["num_detections"][0])
            boxes.append(found["detection_boxes"][0, :count][:, [1, 0, 3, 2]])
            labels.append(np.rint(found["detection_classes"][0, :count]).astype(np.int32))
            scores.append(found["detection_scores"][0, :count])
    with open(arguments["out"], "wb") as file:
        np.savez(
            file,
            counts=np.array([len(each) for each in scores], np.int32),
            boxes=np.concatenate(boxes).astype(np.float32) if boxes else np.zeros((0, 4), np.float32),
            labels=np.concatenate(labels) if labels else np.zeros(0, np.int32),
            scores=np.concatenate(scores).astype(np.float32) if scores else np.zeros(0, np.float32),
        )
    return {"images": len(scores), "seconds": round(time.time() - started, 3)}


def _load(path: str) -> Any:
    import tensorflow.compat.v1 as tf

    definition = tf.GraphDef()
    graph = tf.Graph()
    try:
        with open(path, "rb") as file:
            definition.ParseFromString(file.read())
        with graph.as_default():
            tf.import_graph_def(definition, name="")
    except Exception as error:  # a damaged file fails in many ways
        why = str(error).split("\n")[0]
        raise JobError(f"the frozen graph {path} cannot be loaded", why, "export it again") from error
    missing = [name for name in _FETCHES if name not in {node.name for node in definition.node}]
    if missing:
        why = "it lacks {}".format(", ".join(missing))
        raise JobError(f"{path} is no exported detector", why, "give an exported SSD")
    return graph


def _input(graph: Any, path: str) -> Any:
    """The tensor to feed, and what makes one element of its batch of an image."""
    names = {operation.name for operation in graph.get_operations() if operation.type == "Placeholder"}
    for name, encode in (("image_tensor", lambda image: image), ("encoded_image_string_tensor", _png)):
        if name in names:
            return graph.get_tensor_by_name(name + ":0"), encode
    why = "its placeholders are: {}".format(", ".join(sorted(names)))
    raise JobError(f"{path} has no input image_tensor", why, "export it with the input type image_tensor")


def _png(image: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
