"""Train, through the OD API's own estimator; resumes from the last checkpoint in ``model_dir``."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Collection, Iterator
from typing import Any, Optional

from . import checkpoints, compat, configs, freezing, progress, replicas, slots, widths
from .errors import JobError
from .evaluated import Evaluated
from .loss_watch import LossWatch
from .validation import Validation


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Train to the pipeline.config's ``num_steps``, or until nothing is gained any more.

    Args:
        arguments: See ``configs.estimator_and_inputs``; also ``model_dir``, ``checkpoint_every`` (steps),
            ``fine_tune_checkpoint`` (prefix, or None; the network has the widths of its table), ``evaluate_every``
            (steps; 0: not at all), ``metric`` and ``patience`` (see ``validation``), ``watch_loss``, and
            ``keep_checkpoints``: how many of the last ones stay.
    """
    compat.apply()
    import tensorflow.compat.v1 as tf

    model_dir = arguments["model_dir"]
    start = progress.saved_step(model_dir)
    batch_size = configs.read_pipeline(arguments["pipeline_config"]).train_config.batch_size
    strategy = replicas.strategy_of(arguments["gpus"], batch_size, arguments["device_kind"])
    share = f"train_config {{ batch_size: {batch_size // strategy.num_replicas_in_sync} }}" if strategy else ""
    made = configs.estimator_and_inputs(
        arguments,
        model_dir,
        override=_fine_tune_override(arguments["fine_tune_checkpoint"]) + share,
        train_distribute=strategy,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        save_summary_steps=50,
        log_step_count_steps=100,
    )
    total = made["train_steps"]
    curve = progress.LossCurve(os.path.join(model_dir, progress.LOSS_FILE), total, start)
    table = widths.beside(arguments["fine_tune_checkpoint"])
    evaluated = Evaluated(model_dir, made, table)
    validation = Validation(arguments, total, evaluated, emit) if arguments["evaluate_every"] else None
    started = time.time()
    with _restored_variables() as restored, widths.applied(table) as missing:
        if start and validation:
            validation.see(tf.train.latest_checkpoint(model_dir), start)  # its evaluation may have been cut
        if start < total and not (validation and validation.exhausted):
            _train(arguments, made, strategy, curve, validation, missing, restored, emit)
    curve.save()
    if validation:
        validation.close()
    if restored and not restored["loaded"]:
        raise JobError(
            "nothing of {} fits this model".format(arguments["fine_tune_checkpoint"]),
            "no variable of the same name and shape is in it",
            "give a checkpoint of the same architecture, or none to train from scratch",
        )
    steps = progress.saved_step(model_dir)
    if steps != total and not (validation and validation.exhausted):
        raise JobError(f"training ended without the checkpoint of step {total}", f"in {model_dir}", "run again")
    last = slots.without_slots(model_dir, arguments["keep_checkpoints"], table)
    return {
        "steps": steps,
        "resumed_from": start,
        "checkpoint": _best(validation, model_dir) or last,
        "loss": curve.points[-1][1] if curve.points else None,
        "loss_curve": progress.LOSS_FILE,
        "seconds": round(time.time() - started, 3),
        "fine_tune": dict(restored) or None,
        "validation": validation.facts() if validation else None,
    }


def _train(
    arguments: dict[str, Any],
    made: Any,
    strategy: Any,
    curve: progress.LossCurve,
    validation: Optional[Validation],
    missing: Collection[str],
    restored: dict[str, Any],
    emit: Any,
) -> None:
    import tensorflow.compat.v1 as tf

    total = made["train_steps"]
    every = [arguments["checkpoint_every"], *([validation.every] if validation else [])]
    seen = validation.see if validation else lambda prefix, step: False
    watch = LossWatch(total, lambda: not restored or bool(restored["skipped"]), arguments["watch_loss"])
    hooks = [
        progress.hook(curve, watch, total, emit),
        checkpoints.hook(
            arguments["model_dir"], curve.last_step, every, curve.save, seen, arguments["keep_checkpoints"]
        ),
        freezing.hook(configs.read_pipeline(arguments["pipeline_config"]).train_config.freeze_variables),
        _widths_hook(missing),
    ]
    try:
        replicas.train_estimator(made["estimator"], strategy, made["train_input_fn"], max_steps=total, hooks=hooks)
    except tf.estimator.NanLossDuringTrainingError:
        raise progress.not_finite("not a number", curve.last_step) from None
    except ValueError as error:
        if "No variables to optimize" not in str(error):
            raise
        raise JobError("train.freeze: nothing is left to train", "every variable is frozen", "freeze fewer") from error


def _widths_hook(missing: Collection[str]) -> Any:
    """Refuses a network without the layers of its table, before it is trained."""
    import tensorflow.compat.v1 as tf

    class WidthsHook(tf.train.SessionRunHook):  # type: ignore[misc]
        def begin(self) -> None:
            widths.refuse_missing(missing)

    return WidthsHook()


def _best(validation: Optional[Validation], model_dir: str) -> Optional[str]:
    best = validation.checkpoint if validation else None
    return os.path.relpath(best, model_dir) if best else None


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
    if "_CHECKPOINTABLE_OBJECT_GRAPH" in names:
        raise JobError(
            f"the checkpoint {checkpoint} is that of a Keras model",
            "its variables have other names than those of the TF1-style model that is trained",
            "start from the checkpoint of a TF1-style model, such as those of the TensorFlow 1 detection zoo",
        )
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
