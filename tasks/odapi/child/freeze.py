"""A TF2-native SavedModel becomes frozen_inference_graph.pb: variables as constants, calls inlined, loops lowered."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from . import compat
from .errors import JobError

GRAPH = "frozen_inference_graph.pb"
_SIGNATURE = "serving_default"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Freeze.

    The result has the names of TF1-style exports, whatever the signature calls its tensors.

    Args:
        arguments: ``saved_model``: its folder; ``out``: a folder that gets the frozen graph.
    """
    compat.require("tensorflow")
    graph, inputs, outputs = _frozen(arguments["saved_model"])
    image = _name_input(graph, inputs[0])
    _name_outputs(graph, outputs)
    path = os.path.join(arguments["out"], GRAPH)
    with open(path, "wb") as file:
        file.write(graph.SerializeToString(deterministic=True))
    return {"input": image, "outputs": list(_OUTPUTS), "nodes": len(graph.node), "bytes": os.path.getsize(path)}


def _frozen(folder: str) -> Any:
    """(GraphDef, names of the image inputs' tensors and their types, {output: tensor})."""
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

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
        missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
        if missing:
            why = "it lacks {}".format(", ".join(missing))
            raise JobError(f"{folder} is no exported detector", why, "give a SavedModel of exporter_main_v2")
        function = convert_variables_to_constants_v2(signature)
        inputs = [(tensor.name, tensor.dtype) for tensor in function.inputs if tensor.dtype != tf.resource]
        names = sorted(signature.structured_outputs)  # the order in which a signature returns them
        outputs = {name: tensor.name for name, tensor in zip(names, function.outputs)}
        return function.graph.as_graph_def(), inputs, outputs


def _name_input(graph: Any, given: Any) -> str:
    """Call the image's placeholder as TF1-style exports do."""
    import tensorflow as tf

    names = {tf.uint8: "image_tensor", tf.string: "encoded_image_string_tensor"}
    tensor, dtype = given
    if dtype not in names:
        why = f"its input is {dtype.name}"
        raise JobError("the SavedModel does not take images", why, "export it with --input_type image_tensor")
    old, new = tensor.split(":")[0], names[dtype]
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

    for name in _OUTPUTS:
        node = graph.node.add(name=name, op="Identity", input=[outputs[name]])
        node.attr["T"].type = tf.float32.as_datatype_enum
