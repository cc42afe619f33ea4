"""A Keras model of a pipeline.config, and its data, as ``object_detection.model_main_tf2`` makes them."""

from __future__ import annotations

from typing import Any

from . import compat


def configs_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The OD API's dictionary of a pipeline.config's parts, pointed at a job's data.

    Args:
        arguments: ``pipeline_config``, ``train_records``, ``validation_records`` (lists of files), ``label_map`` and
            ``seed``, which Python's, numpy's and TensorFlow's random numbers start from.
    """
    compat.apply(keras=True)
    import tensorflow as tf
    from object_detection.utils import config_util

    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.INFO)
    reset()
    tf.keras.utils.set_random_seed(arguments["seed"])
    validation = arguments["validation_records"] or arguments["train_records"]
    configs = config_util.get_configs_from_pipeline_file(arguments["pipeline_config"])
    merged: dict[str, Any] = config_util.merge_external_params_with_configs(
        configs,
        kwargs_dict={
            "train_input_path": [str(path) for path in arguments["train_records"] or validation],
            "eval_input_path": [str(path) for path in validation],
            "label_map_path": str(arguments["label_map"]),
        },
    )
    return merged


def without_autograph(function: Any) -> Any:
    """The same function, in which TensorFlow translates no Python source.

    The OD API's models, inputs and losses are written for TensorFlow 1's graphs, and need no translation, which takes
    most of the time before the first step and leaves files in the temporary folder.
    """
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)


def reset() -> None:
    """Forget what an earlier job of this process left in Keras, above all that it was training."""
    import tensorflow as tf

    tf.keras.backend.clear_session()
    tf.compat.v1.keras.backend.set_learning_phase(0)


def build(configs: dict[str, Any]) -> Any:
    """The detection model; its variables are made when it is first called."""
    from object_detection.builders import model_builder

    # Training and evaluation choose the phase themselves, at each call. A model's own summaries are images.
    return model_builder.build(configs["model"], is_training=True, add_summaries=False)


def train_input(configs: dict[str, Any], model: Any, input_context: Any = None) -> Any:
    """Batches without end; of one of several replicas, its share of each."""
    from object_detection import inputs

    data = inputs.train_input(
        train_config=configs["train_config"],
        train_input_config=configs["train_input_config"],
        model_config=configs["model"],
        model=model,
        input_context=input_context,
    )
    return _untuned(data.repeat())


def eval_input(configs: dict[str, Any], model: Any) -> Any:
    """The validation images, each once."""
    from object_detection import inputs

    return _untuned(
        inputs.eval_input(
            eval_config=configs["eval_config"],
            eval_input_config=configs["eval_input_config"],
            model_config=configs["model"],
            model=model,
        )
    )


def ensure_built(configs: dict[str, Any], model: Any, data: Any) -> None:
    """Make the variables, by one batch."""
    from object_detection import model_lib_v2

    model_lib_v2._ensure_model_is_built(model, data, configs["train_config"].unpad_groundtruth_tensors)


def _untuned(data: Any) -> Any:
    """Without tf.data's autotuning, as of TF1-style trainings: the OD API gives every stage its parallelism."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
