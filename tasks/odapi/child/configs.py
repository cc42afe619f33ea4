"""From a job's arguments to the OD API's estimator and input functions, as ``object_detection.model_main`` makes them.

The pipeline.config itself names no place on this machine (it travels with the release); where the data lies comes with
the job and is merged in here.
"""

from __future__ import annotations

from typing import Any

from . import compat
from .errors import JobError


def estimator_and_inputs(
    arguments: dict[str, Any], model_dir: str, override: str = "", **run_config: Any
) -> dict[str, Any]:
    """What ``model_lib.create_estimator_and_inputs`` returns.

    Args:
        arguments: ``pipeline_config``, ``train_records``, ``validation_records`` (lists of files), ``label_map`` and
            ``seed``.
        override: Text proto merged over the pipeline.config.
        run_config: Further fields of tf.estimator.RunConfig.
    """
    compat.apply()
    import tensorflow.compat.v1 as tf
    from object_detection import model_hparams, model_lib

    refuse_quantisation(arguments["pipeline_config"])
    tf.logging.set_verbosity(tf.logging.INFO)
    validation = arguments["validation_records"] or arguments["train_records"]
    made: dict[str, Any] = model_lib.create_estimator_and_inputs(
        tf.estimator.RunConfig(model_dir=model_dir, tf_random_seed=arguments["seed"], **run_config),
        # load_pretrained: without hparams model_lib ignores the fine-tune checkpoint.
        hparams=model_hparams.create_hparams(),
        pipeline_config_path=arguments["pipeline_config"],
        config_override=override or None,
        train_input_path=_paths(arguments["train_records"] or validation),
        eval_input_path=_paths(validation),
        label_map_path=arguments["label_map"],
    )
    made["train_input_fn"] = _untuned(made["train_input_fn"])
    made["eval_input_fns"] = [_untuned(function) for function in made["eval_input_fns"]]
    return made


def _untuned(input_fn: Any) -> Any:
    """The same input without tf.data's autotuning.

    Its thread sleeps for up to a minute between its rounds, and the end of the session waits for it to wake. The OD API
    gives every stage its parallelism, so there is little to tune.
    """
    import tensorflow.compat.v1 as tf

    def untuned() -> Any:
        options = tf.data.Options()
        if hasattr(options, "autotune"):  # TensorFlow 1 has no such thread
            options.autotune.enabled = False
        return input_fn().with_options(options)

    return untuned


def read_pipeline(path: str) -> Any:
    """The parsed ``TrainEvalPipelineConfig``."""
    compat.apply()
    from google.protobuf import text_format
    from object_detection.protos import pipeline_pb2

    with open(path, encoding="utf-8-sig") as file:
        try:
            return text_format.Parse(file.read(), pipeline_pb2.TrainEvalPipelineConfig())
        except text_format.ParseError as error:
            what = f"{path} is not accepted by the Object Detection API"
            raise JobError(what, str(error), "correct the line named") from error


def refuse_quantisation(path: str) -> None:
    """Quantisation-aware graphs are made by tf.contrib.quantize, which only TensorFlow 1 has."""
    import tensorflow

    if read_pipeline(path).HasField("graph_rewriter") and not tensorflow.__version__.startswith("1."):
        raise JobError(
            f"{path} asks for quantisation-aware training (graph_rewriter)",
            f"it needs tf.contrib.quantize, which TensorFlow {tensorflow.__version__} does not have",
            "remove graph_rewriter from the config, or name a Python with TensorFlow 1.15 as train.python",
        )


def _paths(files: list[str]) -> list[str]:
    return [str(file) for file in files]
