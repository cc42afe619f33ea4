"""Train, through the OD API's own estimator; resumes from the last checkpoint in ``model_dir``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from . import compat, configs, progress, slots
from .errors import JobError


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Train to the pipeline.config's ``num_steps``.

    Args:
        arguments: See ``configs.estimator_and_inputs``; also ``model_dir``, ``checkpoint_every`` (steps) and
            ``fine_tune_checkpoint`` (prefix, or None).
    """
    compat.apply()
    import tensorflow.compat.v1 as tf

    model_dir = arguments["model_dir"]
    start = progress.saved_step(model_dir)
    fine_tune = _fine_tune_override(arguments["fine_tune_checkpoint"])
    made = configs.estimator_and_inputs(
        arguments,
        model_dir,
        override=fine_tune,
        save_checkpoints_steps=arguments["checkpoint_every"],
        save_summary_steps=50,
        log_step_count_steps=100,
    )
    total = made["train_steps"]
    curve = progress.LossCurve(os.path.join(model_dir, progress.LOSS_FILE), total, start)
    started = time.time()
    with _restored_variables() as restored:
        try:
            if start < total:
                made["estimator"].train(
                    made["train_input_fn"],
                    max_steps=total,
                    hooks=[progress.hook(curve, total, emit)],
                    saving_listeners=[progress.listener(curve)],
                )
        except tf.estimator.NanLossDuringTrainingError:
            raise progress.not_finite("not a number", curve.last_step) from None
    curve.save()
    if restored and not restored["loaded"]:
        raise JobError(
            "nothing of {} fits this model".format(arguments["fine_tune_checkpoint"]),
            "no variable of the same name and shape is in it",
            "give a checkpoint of the same architecture, or none to train from scratch",
        )
    prefix = tf.train.latest_checkpoint(model_dir)
    if prefix is None or progress.saved_step(model_dir) != total:
        raise JobError(f"training ended without the checkpoint of step {total}", f"in {model_dir}", "run again")
    return {
        "steps": total,
        "resumed_from": start,
        "checkpoint": slots.without_slots(model_dir),
        "loss": curve.points[-1][1] if curve.points else None,
        "loss_curve": progress.LOSS_FILE,
        "seconds": round(time.time() - started, 3),
        "fine_tune": dict(restored) or None,
    }


def _fine_tune_override(checkpoint: Any) -> str:
    """What model_lib needs to start from a checkpoint: all that fits of a detector, or the backbone of a classifier."""
    if not checkpoint:
        return ""
    import tensorflow.compat.v1 as tf

    try:
        names = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    except Exception as error:  # each TensorFlow raises its own kind
        raise JobError(
            f"the checkpoint {checkpoint} cannot be read",
            str(error).split("\n")[0],
            "give the prefix of a TensorFlow checkpoint, such as model.ckpt-20000, without .index or .data",
        ) from error
    kind = "detection" if any(name.startswith("FeatureExtractor/") for name in names) else "classification"
    return "train_config {{ fine_tune_checkpoint: {} fine_tune_checkpoint_type: {} {} }}".format(
        json.dumps(checkpoint),
        json.dumps(kind),
        "load_all_detection_checkpoint_vars: true" if kind == "detection" else "",
    )


@contextlib.contextmanager
def _restored_variables() -> Iterator[dict[str, Any]]:
    """Note what the fine-tune checkpoint gave, and what it could not: ``loaded`` (count), ``skipped`` (list)."""
    from object_detection.utils import variables_helper

    original = variables_helper.get_variables_available_in_checkpoint
    noted: dict[str, Any] = {}

    def noting(variables: Any, checkpoint: str, *args: Any, **kwargs: Any) -> Any:
        available = original(variables, checkpoint, *args, **kwargs)
        noted.update(loaded=len(available), skipped=_skipped(variables, available, checkpoint))
        return available

    variables_helper.get_variables_available_in_checkpoint = noting
    try:
        yield noted
    finally:
        variables_helper.get_variables_available_in_checkpoint = original


def _skipped(wanted: dict[str, Any], available: dict[str, Any], checkpoint: str) -> list[dict[str, Any]]:
    import tensorflow.compat.v1 as tf

    shapes = tf.train.NewCheckpointReader(checkpoint).get_variable_to_shape_map()
    return [
        {"name": name, "model": variable.shape.as_list(), "checkpoint": shapes.get(name)}
        for name, variable in sorted(wanted.items())
        if name not in available and name != "global_step"
    ]
