"""A Keras model's checkpoint becomes frozen_inference_graph.pb: what the OD API's own exporter saves, frozen."""

from __future__ import annotations

from typing import Any

from . import compat, configs, freeze, keras_model
from .export import keep_config


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Export; arguments and facts are those of ``export``.

    The function that the exporter puts into a SavedModel is frozen as it is. Saving it first and loading it again takes
    several times as long, for the same graph.
    """
    compat.apply(keras=True)
    pipeline = configs.read_pipeline(arguments["pipeline_config"])
    configs.refuse_quantisation(arguments["pipeline_config"])
    keras_model.reset()
    graph, inputs, outputs = keras_model.without_autograph(_frozen)(pipeline, arguments["checkpoint"])
    keep_config(arguments)
    return freeze.write(graph, inputs, outputs, arguments["out"])


def _frozen(pipeline: Any, checkpoint: str) -> Any:
    """As ``freeze.frozen_function``, of a checkpoint (prefix)."""
    import tensorflow as tf
    from object_detection import exporter_lib_v2
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.model, is_training=False)
    restored = tf.train.Checkpoint(model=model).read(checkpoint).expect_partial()
    function = exporter_lib_v2.DetectionFromImageModule(model).__call__.get_concrete_function()
    restored.assert_existing_objects_matched()
    return freeze.frozen_function(function)
