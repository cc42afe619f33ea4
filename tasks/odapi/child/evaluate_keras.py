"""COCO metrics of a Keras model's checkpoint, by the OD API's own loop and evaluator (pycocotools beneath it)."""

from __future__ import annotations

from typing import Any

from . import keras_model
from .evaluate import facts_of, per_class


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Evaluate; arguments and facts are those of ``evaluate``."""
    configs = keras_model.configs_of(arguments)
    import tensorflow as tf
    from object_detection import model_lib_v2

    model = keras_model.build(configs)
    data = keras_model.without_autograph(keras_model.eval_input)(configs, model)
    step = tf.Variable(0, trainable=False, dtype=tf.int64)
    restored = tf.train.Checkpoint(step=step, model=model).restore(arguments["checkpoint"])
    with tf.summary.create_file_writer(arguments["out"]).as_default(), per_class() as classes:
        loop = keras_model.without_autograph(model_lib_v2.eager_eval_loop)
        measured = loop(model, configs, data, global_step=step)
    restored.assert_existing_objects_matched()
    return facts_of(measured, classes, int(step))
