"""A checkpoint becomes frozen_inference_graph.pb, by the OD API's own exporter."""

from __future__ import annotations

import os
import shutil
from typing import Any

from . import configs, widths
from .errors import JobError

GRAPH = "frozen_inference_graph.pb"
_OUTPUTS = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Export.

    Args:
        arguments: ``pipeline_config``, ``checkpoint`` (prefix), ``out``: a folder that gets the frozen graph and,
            where it does not lie there already, the pipeline.config, byte for byte.
    """
    pipeline = configs.read_pipeline(arguments["pipeline_config"])
    configs.refuse_quantisation(arguments["pipeline_config"])
    import tensorflow.compat.v1 as tf
    from object_detection import exporter

    out = arguments["out"]
    raw = os.path.join(out, "exporter")
    shutil.rmtree(raw, ignore_errors=True)
    with tf.Graph().as_default(), widths.applied(widths.beside(arguments["checkpoint"])):
        exporter.export_inference_graph("image_tensor", pipeline, arguments["checkpoint"], raw)
    facts = _inspect(os.path.join(raw, GRAPH))
    os.replace(os.path.join(raw, GRAPH), os.path.join(out, GRAPH))
    keep_config(arguments)
    shutil.rmtree(raw)  # a SavedModel and a checkpoint with the same weights
    return facts


def keep_config(arguments: dict[str, Any]) -> None:
    """Put the pipeline.config beside the frozen graph, where it does not lie there already."""
    config = os.path.join(arguments["out"], "pipeline.config")
    if os.path.realpath(config) != os.path.realpath(arguments["pipeline_config"]):
        shutil.copyfile(arguments["pipeline_config"], config)


def _inspect(path: str) -> dict[str, Any]:
    """The graph loads, and its inputs and outputs are there by name."""
    import tensorflow.compat.v1 as tf

    graph = tf.GraphDef()
    with open(path, "rb") as file:
        graph.ParseFromString(file.read())
    with tf.Graph().as_default():
        tf.import_graph_def(graph, name="")
    names = {node.name for node in graph.node}
    missing = [name for name in ("image_tensor",) + _OUTPUTS if name not in names]
    if missing:
        raise JobError("the exported graph lacks {}".format(", ".join(missing)), "", "it is no detector to be deployed")
    return {"input": "image_tensor", "outputs": list(_OUTPUTS), "nodes": len(names), "bytes": os.path.getsize(path)}
