"""A Keras model's checkpoint becomes frozen_inference_graph.pb, by the OD API's own exporter and ``freeze``."""

from __future__ import annotations

import os
import shutil
from typing import Any

from . import compat, configs, freeze, keras_model
from .export import keep_config


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Export; arguments and facts are those of ``export``."""
    compat.apply(keras=True)
    pipeline = configs.read_pipeline(arguments["pipeline_config"])
    configs.refuse_quantisation(arguments["pipeline_config"])
    import tensorflow as tf
    from object_detection import exporter_lib_v2

    out = arguments["out"]
    raw = os.path.join(out, "exporter")
    shutil.rmtree(raw, ignore_errors=True)
    # The exporter takes a folder, and of that the checkpoint which its file `checkpoint` names.
    named = os.path.join(raw, "trained")
    os.makedirs(named)
    tf.compat.v1.train.update_checkpoint_state(named, os.path.abspath(arguments["checkpoint"]))
    keras_model.reset()
    exporter_lib_v2.export_inference_graph("image_tensor", pipeline, named, raw)
    facts = freeze.run({"saved_model": os.path.join(raw, "saved_model"), "out": out}, emit)
    keep_config(arguments)
    shutil.rmtree(raw)
    return facts
