"""Run by a test in a process of its own: one untrained SSD, exported and treated in every way that people do.

Arguments: the folder of the Object Detection API's child package, a pipeline.config, where to write, and a JSON list of
cells [input shape, input type, treatment], each of SHAPES, INPUTS and TREATMENTS below. Weights that are there from an
earlier run are used again.

Writes ``facts.json``: per cell its file and its reference or, where there is none, why; and the references: images and
what TensorFlow makes of them.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import sys
from collections.abc import Callable
from typing import Any

#: By name, from the resizer's height and width.
SHAPES: dict[str, Callable[[int, int], Any]] = {
    "none": lambda height, width: None,
    "1 free": lambda height, width: [1, None, None, 3],
    "1 own size": lambda height, width: [1, height, width, 3],
    "1 other size": lambda height, width: [1, height - 32, width + 48, 3],
    "4": lambda height, width: [4, None, None, 3],
}
INPUTS = {"image_tensor": "image_tensor", "encoded": "encoded_image_string_tensor", "tf_example": "tf_example"}
STATIC = "static shapes"
TREATMENTS = ("as it is", STATIC, "constants folded", "optimize_for_inference", "extract_sub_graph",
              "import/ prefix", "saved_model")  # fmt: skip
OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
RAW = ("raw_detection_boxes", "raw_detection_scores")


def main(child: str, config: str, out: str, cells: str) -> None:
    _import_child(child)
    import numpy as np
    from google.protobuf import text_format
    from object_detection.protos import pipeline_pb2

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    with open(config) as file:
        text_format.Parse(file.read(), pipeline)
    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    size = (resizer.height, resizer.width)
    checkpoint = f"{out}/checkpoint/model.ckpt"
    if not os.path.isfile(checkpoint + ".index"):
        _save_checkpoint(pipeline, checkpoint, np.random.default_rng(5))
    facts: list[dict[str, Any]] = []
    exports: dict[str, str] = {}
    for shape, kind, treatment in json.loads(cells):
        name = "-".join([shape.replace(" ", "_"), kind, *(["static"] if treatment == STATIC else [])])
        if name not in exports:
            exports[name] = _export(pipeline, checkpoint, out, name, SHAPES[shape](*size), INPUTS[kind], size)
        path, reference, reason = "", f"{name}.npz", exports[name]
        if not reason:
            try:
                path, graph = _treated(f"{out}/{name}", INPUTS[kind], treatment)
                if graph:  # its weights were rewritten: TensorFlow itself finds something else by rounding
                    reference = f"{path}.npz"
                    _reference(graph, f"{out}/{reference}", SHAPES[shape](*size), INPUTS[kind], size)
            except Exception as error:
                reason = _words(error)
        facts.append({"cell": [shape, kind, treatment], "file": path, "reference": reference, "reason": reason})
    with open(f"{out}/facts.json", "w") as file:
        json.dump(facts, file)


def _import_child(child: str) -> None:
    spec = importlib.util.spec_from_file_location("child", f"{child}/__init__.py", submodule_search_locations=[child])
    package = importlib.util.module_from_spec(spec)
    sys.modules["child"] = package
    spec.loader.exec_module(package)
    importlib.import_module("child.compat").apply()


def _words(error: Exception) -> str:
    """The line of an error that says what is wrong, without places in files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [
        line for line in lines if not line.startswith(("File ", "[[", "Detected at", "Node:", "<")) and line[-1] != ":"
    ]
    where = -1 if "in user code:" in str(error) else 0
    told = telling[where] if telling else ""
    kind = type(error).__name__
    return (told if told.startswith(kind) else f"{kind}: {told}")[:200].rstrip(".")


def _save_checkpoint(pipeline: Any, path: str, random: Any) -> None:
    """Random weights; the batch norms' statistics are those of a few images, so that what is in an image shows."""
    import tensorflow.compat.v1 as tf
    from object_detection.builders import model_builder

    resizer = pipeline.model.ssd.image_resizer.fixed_shape_resizer
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(7)
        model = model_builder.build(pipeline.model, is_training=True)
        images = random.integers(0, 256, (4, resizer.height, resizer.width, 3)).astype("float32")
        model.predict(*model.preprocess(tf.constant(images)))
        tf.train.get_or_create_global_step()
        session.run(tf.global_variables_initializer())
        for _ in range(8):
            session.run(tf.get_collection(tf.GraphKeys.UPDATE_OPS))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        tf.train.Saver().save(session, path)


def _export(pipeline: Any, checkpoint: str, out: str, name: str, shape: Any, kind: str, size: Any) -> str:
    """Export by the API's own exporter and run it; why it could not be, or ''."""
    import tensorflow.compat.v1 as tf
    from object_detection import exporter

    own = type(pipeline)()
    own.CopyFrom(pipeline)
    if name.endswith("-static"):
        own.model.ssd.post_processing.batch_non_max_suppression.use_static_shapes = True
    folder = f"{out}/{name}"
    step = "the Object Detection API does not export it"
    try:
        with tf.Graph().as_default():
            exporter.export_inference_graph(kind, own, checkpoint, folder, input_shape=shape)
        step = "TensorFlow does not run it"
        _reference(f"{folder}/frozen_inference_graph.pb", f"{folder}.npz", shape, kind, size)
    except Exception as error:
        return f"{step}: {_words(error)}"
    return ""


def _graph_def(path: str) -> Any:
    import tensorflow.compat.v1 as tf

    definition = tf.GraphDef()
    with open(path, "rb") as file:
        definition.ParseFromString(file.read())
    return definition


def _reference(frozen: str, out: str, shape: Any, kind: str, size: Any) -> None:
    """Two images and what the frozen graph finds in them."""
    import numpy as np
    import tensorflow.compat.v1 as tf

    batch, height, width = (shape or [None] * 4)[:3]
    random = np.random.default_rng(11)
    images = [_image(random, height or size[0] + 37, width or size[1] + 61) for _ in range(2)]
    found: dict[str, list[Any]] = {name: [] for name in OUTPUTS + RAW}
    encode = {"image_tensor": lambda image: image, "encoded_image_string_tensor": _png, "tf_example": _example}[kind]
    with tf.Graph().as_default() as graph, tf.Session() as session:
        tf.import_graph_def(_graph_def(frozen), name="")
        for image in images:
            values = session.run([f"{name}:0" for name in found], {f"{kind}:0": [encode(image)] * (batch or 1)})
            for name, value in zip(found, values):
                found[name].append(value[0])
        del graph
    np.savez(out, images=images, **found)


def _image(random: Any, height: int, width: int) -> Any:
    """Coloured rectangles on noise."""
    image = random.integers(0, 256, (height, width, 3)).astype("uint8")
    for _ in range(6):
        top, left = random.integers(0, height - 40), random.integers(0, width - 40)
        image[top : top + random.integers(20, 90), left : left + random.integers(20, 90)] = random.integers(0, 256, 3)
    return image


def _png(image: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _example(image: Any) -> bytes:
    import tensorflow.compat.v1 as tf

    def texts(value: bytes) -> Any:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {"image/encoded": texts(_png(image)), "image/format": texts(b"png")}
    return bytes(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def _treated(folder: str, kind: str, treatment: str) -> tuple[str, Any]:
    """The path of the export after a treatment, relative to the folder of all; and the graph that TensorFlow is to be
    asked where the treatment rewrites weights: the same, with its raw boxes and scores."""
    out = os.path.dirname(folder)
    frozen = f"{folder}/frozen_inference_graph.pb"
    name = os.path.basename(folder)
    if treatment in ("as it is", STATIC):
        return f"{name}/frozen_inference_graph.pb", None
    if treatment == "saved_model":
        return f"{name}/saved_model", None
    rewrite = {
        "constants folded": _grappler,
        "optimize_for_inference": _optimized,
        "extract_sub_graph": _extracted,
        "import/ prefix": _imported,
    }[treatment]
    path = f"{name}-{treatment.replace(' ', '_').replace('/', '')}.pb"
    _write(rewrite(_graph_def(frozen), kind, OUTPUTS), f"{out}/{path}")
    if treatment not in ("constants folded", "optimize_for_inference"):
        return path, None
    _write(rewrite(_graph_def(frozen), kind, OUTPUTS + RAW), f"{out}/{path}.raw")
    return path, f"{out}/{path}.raw"


def _write(definition: Any, path: str) -> None:
    with open(path, "wb") as file:
        file.write(definition.SerializeToString())


def _grappler(definition: Any, kind: str, outputs: tuple[str, ...]) -> Any:
    """Grappler as TF-TRT and many scripts run it: what is constant is folded, what is trivial goes."""
    import tensorflow.compat.v1 as tf
    from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
    from tensorflow.python.grappler import tf_optimizer

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        for name in outputs:
            graph.add_to_collection("train_op", graph.get_tensor_by_name(f"{name}:0"))
        meta = tf.train.export_meta_graph(graph_def=graph.as_graph_def(), graph=graph)
    options = config_pb2.ConfigProto()
    rewriting = options.graph_options.rewrite_options
    rewriting.optimizers.extend(["pruning", "constfold", "arithmetic", "dependency", "constfold"])
    rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.TWO
    rewriting.min_graph_nodes = -1
    return tf_optimizer.OptimizeGraph(options, meta)


def _optimized(definition: Any, kind: str, outputs: tuple[str, ...]) -> Any:
    import tensorflow.compat.v1 as tf
    from tensorflow.python.tools import optimize_for_inference_lib

    dtype = tf.uint8 if kind == "image_tensor" else tf.string
    return optimize_for_inference_lib.optimize_for_inference(
        definition, [kind], list(outputs), dtype.as_datatype_enum, True
    )


def _extracted(definition: Any, kind: str, outputs: tuple[str, ...]) -> Any:
    import tensorflow.compat.v1 as tf

    return tf.graph_util.extract_sub_graph(definition, list(outputs))


def _imported(definition: Any, kind: str, outputs: tuple[str, ...]) -> Any:
    """What ``tf.import_graph_def`` without a name makes of every name."""
    import tensorflow.compat.v1 as tf

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition)
        return graph.as_graph_def()


if __name__ == "__main__":
    main(*sys.argv[1:])
