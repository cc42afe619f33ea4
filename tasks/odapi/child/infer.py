"""Run a frozen graph in TensorFlow on original-size images: the reference every conversion is held against."""

from __future__ import annotations

import io
import time
from typing import Any

from . import compat, counted
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

    graph, prefix = _load(arguments["frozen_graph"])
    boxes: list[Any] = []
    labels: list[Any] = []
    scores: list[Any] = []
    started, done = time.time(), counted.Counted(emit)
    with tf.Session(graph=graph) as session:
        feed, encode = _input(graph, prefix, arguments["frozen_graph"])
        batch, size = _fixed(feed)
        fetches = {name: graph.get_tensor_by_name(prefix + name + ":0") for name in _FETCHES}
        for path in arguments["images"]:
            image = np.load(path)
            if size not in (None, image.shape[:2]):
                _refuse_size(arguments["frozen_graph"], size, image.shape[:2])
            found = session.run(fetches, {feed: [encode(image)] * batch})
            count = int(found["num_detections"][0])
            boxes.append(found["detection_boxes"][0, :count][:, [1, 0, 3, 2]])
            labels.append(np.rint(found["detection_classes"][0, :count]).astype(np.int32))
            scores.append(found["detection_scores"][0, :count])
            done.more()
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
    """The graph, and what stands before the names of its outputs: ``import/`` where it was imported and saved again."""
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
    names = {node.name for node in definition.node}
    prefixes = [name[: -len(_FETCHES[0])] for name in names if name.split("/")[-1] == _FETCHES[0]]
    prefix = min(prefixes, key=len) if prefixes else ""
    missing = [name for name in _FETCHES if prefix + name not in names]
    if missing:
        why = "it lacks {}".format(", ".join(missing))
        raise JobError(f"{path} is no exported detector", why, "give an exported SSD")
    return graph, prefix


def _input(graph: Any, prefix: str, path: str) -> Any:
    """The tensor to feed, and what makes one element of its batch of an image."""
    names = {operation.name for operation in graph.get_operations() if operation.type == "Placeholder"}
    kinds = (
        ("image_tensor", lambda image: image),
        ("encoded_image_string_tensor", _png),
        ("tf_example", _example),
    )
    for name, encode in kinds:
        if prefix + name in names:
            return graph.get_tensor_by_name(prefix + name + ":0"), encode
    why = "its placeholders are: {}".format(", ".join(sorted(names)))
    raise JobError(f"{path} has no input image_tensor", why, "export it with the input type image_tensor")


def _fixed(feed: Any) -> Any:
    """(images at once, (height, width) of each or None) as far as the export fixed them."""
    shape = feed.shape.as_list() if feed.shape.ndims else [None]
    size = tuple(shape[1:3]) if len(shape) == 4 else (None, None)
    return shape[0] or 1, None if None in size else size


def _refuse_size(path: str, size: Any, given: Any) -> None:
    raise JobError(
        "{} takes images of {}x{} pixels alone".format(path, *size),
        "it was exported with a fixed height and width; an image has {}x{}".format(*given),
        "export it with --input_shape=-1,-1,-1,3, or give images of that size",
    )


def _example(image: Any) -> bytes:
    """A tf.Example with the image alone."""
    import tensorflow.compat.v1 as tf

    values = {"image/encoded": _png(image), "image/format": b"png"}
    features = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[one])) for name, one in values.items()}
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _png(image: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()
