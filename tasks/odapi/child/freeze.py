"""A SavedModel becomes frozen_inference_graph.pb: variables as constants, calls inlined, loops lowered."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from . import compat
from .errors import JobError

GRAPH = "frozen_inference_graph.pb"
_SIGNATURE = "serving_default"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
#: What many exports also give.
_RAW = ("raw_detection_boxes", "raw_detection_scores")


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Freeze.

    The result has the names of TF1-style exports, whatever the signature calls its tensors.

    Args:
        arguments: ``saved_model``: its folder; ``out``: a folder that gets the frozen graph.
    """
    compat.require("tensorflow")
    folder = arguments["saved_model"]
    graph, inputs, outputs = _frozen_by_version_1(folder) or _frozen(folder)
    return write(graph, inputs, outputs, arguments["out"])


def write(graph: Any, inputs: Any, outputs: dict[str, str], out: str) -> dict[str, Any]:
    """Name a frozen graph's input and outputs as TF1-style exports do, and write it into the folder ``out``."""
    image = _name_input(graph, inputs[0])
    _name_outputs(graph, outputs)
    path = os.path.join(out, GRAPH)
    with open(path, "wb") as file:
        file.write(graph.SerializeToString(deterministic=True))
    return {"input": image, "outputs": list(_OUTPUTS), "nodes": len(graph.node), "bytes": os.path.getsize(path)}


def _frozen_by_version_1(folder: str) -> Any:
    """As ``_frozen``, of a SavedModel that TensorFlow 1 wrote; None for another."""
    import tensorflow.compat.v1 as tf
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    try:
        with open(os.path.join(folder, "saved_model.pb"), "rb") as file:
            saved.ParseFromString(file.read())
    except Exception:  # missing or damaged: the other way says so
        return None
    metas = [meta for meta in saved.meta_graphs if tf.saved_model.SERVING in meta.meta_info_def.tags]
    if not metas or metas[0].HasField("object_graph_def") or _SIGNATURE not in metas[0].signature_def:
        return None
    signature = metas[0].signature_def[_SIGNATURE]
    outputs = {name: info.name for name, info in signature.outputs.items()}
    _require_outputs(folder, outputs)
    wanted = [outputs[name].split(":")[0] for name in _OUTPUTS]
    with tf.Graph().as_default(), tf.Session() as session:
        tf.saved_model.load(session, [tf.saved_model.SERVING], folder)
        graph = tf.graph_util.convert_variables_to_constants(session, session.graph_def, wanted)
    return graph, [(info.name, tf.as_dtype(info.dtype)) for info in signature.inputs.values()], outputs


def _require_outputs(folder: str, given: Any) -> None:
    missing = [name for name in _OUTPUTS if name not in given]
    if missing:
        why = "it lacks {}".format(", ".join(missing))
        raise JobError(f"{folder} is no exported detector", why, "give a SavedModel of exporter_main_v2")


def _frozen(folder: str) -> Any:
    """(GraphDef, names of the image inputs' tensors and their types, {output: tensor})."""
    import tensorflow as tf
    from tensorflow.python.eager import context

    # A process that trained before runs in TensorFlow 1's mode.
    with contextlib.nullcontext() if tf.executing_eagerly() else context.eager_mode():
        try:
            loaded = tf.saved_model.load(folder)
        except Exception as error:  # a damaged folder fails in many ways
            why = str(error).split("\n")[0]
            raise JobError(f"the SavedModel {folder} cannot be loaded", why, "export it again") from error
        signatures = getattr(loaded, "signatures", {})
        if _SIGNATURE not in signatures:
            why = "its signatures are: {}".format(", ".join(sorted(signatures)) or "none")
            raise JobError(f"{folder} has no signature {_SIGNATURE}", why, "export it with exporter_main_v2")
        signature = signatures[_SIGNATURE]
        _require_outputs(folder, signature.structured_outputs)
        return frozen_function(signature)


def frozen_function(signature: Any) -> Any:
    """The same of a concrete function that returns a dictionary, in eager mode."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    function = convert_variables_to_constants_v2(signature)
    inputs = [(tensor.name, tensor.dtype) for tensor in function.inputs if tensor.dtype != tf.resource]
    names = sorted(signature.structured_outputs)  # the order in which a function returns them
    outputs = {name: tensor.name for name, tensor in zip(names, function.outputs)}
    return function.graph.as_graph_def(), inputs, outputs


def _name_input(graph: Any, given: tuple[str, Any]) -> str:
    """Call the image's placeholder as TF1-style exports do."""
    import tensorflow as tf

    names = {tf.uint8: "image_tensor", tf.string: "encoded_image_string_tensor"}
    tensor, dtype = given
    if dtype not in names:
        why = f"its input is {dtype.name}"
        raise JobError("the SavedModel does not take images", why, "export it with --input_type image_tensor")
    old, new = tensor.split(":")[0], names[dtype]
    if old in (*names.values(), "tf_example"):
        return old
    for node in graph.node:
        if node.name == old:
            node.name = new
        for index, reference in enumerate(node.input):
            if reference.split(":")[0].lstrip("^") == old:
                node.input[index] = reference.replace(old, new, 1)
    return new


def _name_outputs(graph: Any, outputs: dict[str, str]) -> None:
    """Add an Identity of each output, under its own name."""
    import tensorflow as tf

    for name in (*_OUTPUTS, *_RAW):
        if outputs.get(name, f"{name}:0") == f"{name}:0":
            continue
        node = graph.node.add(name=name, op="Identity", input=[outputs[name]])
        node.attr["T"].type = tf.float32.as_datatype_enum
