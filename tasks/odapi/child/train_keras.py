"""Train a Keras model by the pieces of the OD API's own loop, ``model_lib_v2``; resumes from the last checkpoint.

That loop is not called itself: it tells nothing while it runs, does not save what comes after the last full
``checkpoint_every_n`` steps, and trains in lots of a hundred.
"""

from __future__ import annotations

import glob
import math
import os
import re
import time
from typing import Any

from . import configs as tf1_configs
from . import keras_checkpoint, keras_model, progress, slots
from .loss_watch import LossWatch

_PREFIX = "ckpt"
_FOLDER = "trained"
_SUMMARY_EVERY = 50


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Train to the pipeline.config's ``num_steps``; arguments and facts are those of ``train``."""
    configs = keras_model.configs_of(arguments)
    tf1_configs.refuse_quantisation(arguments["pipeline_config"])
    # The optimizer that keeps moving averages is not written for graphs.
    averages = configs["train_config"].optimizer.use_moving_average
    train = _train if averages else keras_model.without_autograph(_train)
    facts: dict[str, Any] = train(configs, arguments, emit)
    return facts


def _train(configs: dict[str, Any], arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    model_dir, total = arguments["model_dir"], configs["train_config"].num_steps
    start = progress.saved_step(model_dir)
    curve = progress.LossCurve(os.path.join(model_dir, progress.LOSS_FILE), total, start)
    started = time.time()
    fine_tune = None
    if start < total:
        training = _Training(configs, model_dir, arguments["fine_tune_checkpoint"], start)
        fine_tune = training.fine_tune
        try:
            _advance(training, total, arguments, curve, emit)
        finally:
            training.close()
        training.keep_model()
    return {
        "steps": total,
        "resumed_from": start,
        "checkpoint": _without_others(model_dir, total),
        "loss": curve.points[-1][1] if curve.points else None,
        "loss_curve": progress.LOSS_FILE,
        "seconds": round(time.time() - started, 3),
        "fine_tune": fine_tune,
        "validation": None,
    }


def _advance(training: _Training, total: int, arguments: dict[str, Any], curve: progress.LossCurve, emit: Any) -> None:
    pace, watch = _Pace(total, emit), LossWatch(total, training.starts_anew, arguments["watch_loss"])
    while training.step < total:
        loss, rate = training.advance()
        if not math.isfinite(loss):
            raise progress.not_finite(loss, curve.last_step)
        curve.add(training.step, loss, rate)
        watch.look(curve, training.step)
        pace.tell(training.step, loss)
        if training.step % arguments["checkpoint_every"] == 0 and training.step < total:
            curve.save()  # first, so that a training that is resumed from the checkpoint finds it
            training.save()
    curve.save()


def _without_others(model_dir: str, step: int) -> str:
    """Delete all checkpoints but the one that is kept; return its prefix, relative to ``model_dir``."""
    for left in glob.glob(os.path.join(glob.escape(model_dir), _PREFIX + "-*")):
        slots.delete(left)
    return os.path.join(_FOLDER, f"{_PREFIX}-{step}")


class _Training:
    """Model, optimizer and data, from a step on.

    Attributes:
        step: Steps done.
        fine_tune: What a checkpoint to start from gave; None without one.
    """

    def __init__(self, configs: dict[str, Any], model_dir: str, fine_tune_checkpoint: Any, start: int) -> None:
        import tensorflow as tf
        from object_detection.builders import optimizer_builder

        self._config, self._dir = configs["train_config"], model_dir
        self._model = keras_model.build(configs)
        data = keras_model.train_input(configs, self._model)
        self._step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step")
        self._optimizer, (self._rate,) = optimizer_builder.build(self._config.optimizer, global_step=self._step)
        self._averages = self._config.optimizer.use_moving_average
        if self._averages or fine_tune_checkpoint:
            keras_model.ensure_built(configs, self._model, data)
        self.fine_tune = None
        if fine_tune_checkpoint:
            kind = self._config.fine_tune_checkpoint_type
            self.fine_tune = keras_checkpoint.load(self._model, fine_tune_checkpoint, kind, assign=start == 0)
        if self._averages:
            self._optimizer.shadow_copy(self._model)
        everything = tf.train.Checkpoint(step=self._step, model=self._model, optimizer=self._optimizer)
        self._manager = tf.train.CheckpointManager(everything, model_dir, 5, checkpoint_name=_PREFIX)
        self._restored = everything.restore(tf.train.latest_checkpoint(model_dir)) if start else None
        self.step = start
        self._batches = iter(data)
        self._one_step = tf.function(self._train_step)
        self._summaries = tf.summary.create_file_writer(model_dir)

    def starts_anew(self) -> bool:
        """Whether variables began at random: a loss has to fall then."""
        return not self.fine_tune or bool(self.fine_tune["skipped"])

    def advance(self) -> tuple[float, float]:
        """One step: the total loss, and the learning rate that it was made with."""
        import tensorflow as tf

        rate = float(self._rate() if callable(self._rate) else self._rate)
        losses = {name: float(value) for name, value in self._one_step(self._batches).items()}
        if self._restored is not None:
            self._restored.assert_existing_objects_matched()
            self._restored = None
        self.step += 1
        if self.step % _SUMMARY_EVERY == 0:
            with self._summaries.as_default(self.step):
                for name, value in {**losses, "learning_rate": rate}.items():
                    tf.summary.scalar(name, value)
        return losses["Loss/total_loss"], rate

    def _train_step(self, batches: Any) -> Any:
        from object_detection import model_lib_v2

        features, labels = next(batches)
        losses = model_lib_v2.eager_train_step(
            self._model,
            features,
            labels,
            self._config.unpad_groundtruth_tensors,
            _Chosen(self._optimizer, self._config),
            training_step=self._step,
            add_regularization_loss=self._config.add_regularization_loss,
            clip_gradients_value=self._config.gradient_clipping_by_norm or None,
        )
        self._step.assign_add(1)
        return losses

    def save(self) -> None:
        """A checkpoint to go on from."""
        self._manager.save(checkpoint_number=self.step)

    def keep_model(self) -> None:
        """Write a checkpoint of the model alone, without the optimizer: its moving averages where it has any.

        It lies in a folder of its own, and is written whole before ``checkpoint`` names it.
        """
        import tensorflow as tf

        kept = os.path.join(_FOLDER, f"{_PREFIX}-{self.step}")
        if self._averages:
            self._optimizer.assign_average_vars(self._model.trainable_variables)
        model = tf.train.Checkpoint(step=self._step, model=self._model)
        model.save_counter.assign(1)  # the exporter wants it, and writing alone does not make it
        model.write(os.path.join(self._dir, kept))
        tf.compat.v1.train.update_checkpoint_state(self._dir, kept)

    def close(self) -> None:
        """End what runs beside the training."""
        self._batches = None
        self._summaries.close()


class _Chosen:
    """Applies gradients to the variables that the config trains, by name: the OD API's Keras loop trains them all."""

    def __init__(self, optimizer: Any, config: Any) -> None:
        self._optimizer = optimizer
        self._trained, self._frozen = list(config.update_trainable_variables), list(config.freeze_variables)

    def apply_gradients(self, pairs: Any) -> None:
        self._optimizer.apply_gradients([pair for pair in pairs if self._trains(pair[1].name.split(":")[0])])

    def _trains(self, name: str) -> bool:
        wanted = not self._trained or any(re.search(pattern, name) for pattern in self._trained)
        return wanted and not any(re.search(pattern, name) for pattern in self._frozen)


class _Pace:
    """Emits ``progress`` about once a second."""

    def __init__(self, total: int, emit: Any) -> None:
        self._total, self._emit = total, emit
        self._first = self._started = self._said = 0.0

    def tell(self, step: int, loss: float) -> None:
        now = time.time()
        if not self._started:  # the first step builds and warms up; it says nothing about speed
            self._first, self._started = step, now
        elif now - self._said < 1.0 and step != self._total:
            return
        self._said = now
        speed = (step - self._first) / (now - self._started) if step > self._first else 0.0
        self._emit(
            "progress",
            step=step,
            total=self._total,
            loss=loss,
            steps_per_second=round(speed, 3),
            eta=round((self._total - step) / speed, 1) if speed else None,
        )
