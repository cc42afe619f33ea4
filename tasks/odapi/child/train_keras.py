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
from typing import Any, Optional

from . import configs as tf1_configs
from . import keras_checkpoint, keras_model, progress, replicas, slots
from .evaluated_keras import PREFIX, EvaluatedKeras
from .loss_watch import LossWatch
from .validation import Validation

#: Checkpoints that a training keeps while it goes.
_KEPT = 5
_SUMMARY_EVERY = 50


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Train to the pipeline.config's ``num_steps``; arguments and facts are those of ``train``."""
    configs = keras_model.configs_of(arguments)
    tf1_configs.refuse_quantisation(arguments["pipeline_config"])
    batch_size = configs["train_config"].batch_size
    strategy = replicas.strategy_of(arguments["gpus"], batch_size, arguments["device_kind"])
    # The optimizer that keeps moving averages is not written for graphs.
    averages = configs["train_config"].optimizer.use_moving_average
    train = _train if averages else keras_model.without_autograph(_train)
    import tensorflow as tf

    with (strategy or tf.distribute.get_strategy()).scope():
        facts: dict[str, Any] = train(configs, arguments, emit)
    return facts


def _train(configs: dict[str, Any], arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    model_dir, total = arguments["model_dir"], configs["train_config"].num_steps
    start = progress.saved_step(model_dir)
    curve = progress.LossCurve(os.path.join(model_dir, progress.LOSS_FILE), total, start)
    evaluated = EvaluatedKeras(configs, model_dir)
    validation = Validation(arguments, total, evaluated, emit) if arguments["evaluate_every"] else None
    started = time.time()
    fine_tune = None
    if start < total and not (validation and validation.exhausted):
        training = _Training(configs, arguments, start)
        fine_tune = training.fine_tune
        try:
            _advance(training, total, arguments, curve, validation, emit)
        finally:
            training.close()
        training.keep_models(arguments["keep_checkpoints"])
    steps = progress.saved_step(model_dir)
    _delete_others(model_dir)
    best = validation.checkpoint if validation else None
    return {
        "steps": steps,
        "resumed_from": start,
        "checkpoint": os.path.relpath(best or evaluated.place(steps), model_dir),
        "loss": curve.points[-1][1] if curve.points else None,
        "loss_curve": progress.LOSS_FILE,
        "seconds": round(time.time() - started, 3),
        "fine_tune": fine_tune,
        "validation": validation.facts() if validation else None,
    }


def _advance(
    training: _Training,
    total: int,
    arguments: dict[str, Any],
    curve: progress.LossCurve,
    validation: Optional[Validation],
    emit: Any,
) -> None:
    pace, watch = _Pace(total, emit), LossWatch(total, training.starts_anew, arguments["watch_loss"])
    ended = _evaluated(training, validation)  # its evaluation may have been cut
    while training.step < total and not ended:
        loss, rate = training.advance()
        if not math.isfinite(loss):
            raise progress.not_finite(loss, curve.last_step)
        curve.add(training.step, loss, rate)
        watch.look(curve, training.step)
        pace.tell(training.step, loss)
        evaluates = validation is not None and validation.is_due(training.step)
        if (evaluates or training.step % arguments["checkpoint_every"] == 0) and training.step < total:
            curve.save()  # first, so that a training that is resumed from the checkpoint finds it
            training.save()
        ended = _evaluated(training, validation)
    curve.save()


def _evaluated(training: _Training, validation: Optional[Validation]) -> bool:
    """Evaluate the model as it is where that is due; True when training is to end."""
    if validation is None or not validation.is_due(training.step):
        return False
    return validation.see(training.write_model(), training.step)


def _delete_others(model_dir: str) -> None:
    """Delete the checkpoints to go on from."""
    for left in glob.glob(os.path.join(glob.escape(model_dir), PREFIX + "-*")):
        slots.delete(left)


class _Training:
    """Model, optimizer and data, from a step on.

    Attributes:
        step: Steps done.
        fine_tune: What a checkpoint to start from gave; None without one.
    """

    def __init__(self, configs: dict[str, Any], arguments: dict[str, Any], start: int) -> None:
        import tensorflow as tf
        from object_detection.builders import optimizer_builder

        self._config, self._dir = configs["train_config"], arguments["model_dir"]
        fine_tune_checkpoint = arguments["fine_tune_checkpoint"]
        self._model = keras_model.build(configs)
        self._strategy = tf.distribute.get_strategy()
        data = self._strategy.distribute_datasets_from_function(
            lambda context: keras_model.train_input(configs, self._model, context)
        )
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self._step = tf.Variable(0, trainable=False, dtype=tf.int64, name="global_step", aggregation=first)
        self._optimizer, (self._rate,) = optimizer_builder.build(self._config.optimizer, global_step=self._step)
        self._averages = self._config.optimizer.use_moving_average
        if self._averages or fine_tune_checkpoint or start:
            keras_model.ensure_built(configs, self._model, data)
        self.fine_tune = None
        if fine_tune_checkpoint:
            kind = self._config.fine_tune_checkpoint_type
            self.fine_tune = keras_checkpoint.load(self._model, fine_tune_checkpoint, kind, assign=start == 0)
        if self._averages:
            self._optimizer.shadow_copy(self._model)
        self._everything = tf.train.Checkpoint(step=self._step, model=self._model, optimizer=self._optimizer)
        kept = max(_KEPT, arguments["keep_checkpoints"])
        self._manager = tf.train.CheckpointManager(self._everything, self._dir, kept, checkpoint_name=PREFIX)
        self._restored = self._everything.restore(tf.train.latest_checkpoint(self._dir)) if start else None
        self.step = start
        self._batches = iter(data)
        self._one_step = tf.function(self._train_step)
        self._summaries = tf.summary.create_file_writer(self._dir)

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
        import tensorflow as tf
        from object_detection import model_lib_v2

        losses = self._strategy.run(self._train_replica, args=next(batches))
        return model_lib_v2.reduce_dict(self._strategy, losses, tf.distribute.ReduceOp.SUM)

    def _train_replica(self, features: Any, labels: Any) -> Any:
        """The step of one replica, on its share of the batch; gradients are summed over all."""
        from object_detection import model_lib_v2

        losses = model_lib_v2.eager_train_step(
            self._model,
            features,
            labels,
            self._config.unpad_groundtruth_tensors,
            _Chosen(self._optimizer, self._config),
            training_step=self._step,
            add_regularization_loss=self._config.add_regularization_loss,
            clip_gradients_value=self._config.gradient_clipping_by_norm or None,
            num_replicas=self._strategy.num_replicas_in_sync,
        )
        self._step.assign_add(1)
        return losses

    def save(self) -> None:
        """A checkpoint to go on from."""
        self._manager.save(checkpoint_number=self.step)

    def write_model(self) -> str:
        """Write a checkpoint of the model alone, with its moving averages where it has any; return its prefix."""
        import tensorflow as tf

        prefix = slots.place(self._dir, self.step, PREFIX)
        variables = self._model.trainable_variables if self._averages else []
        own = [variable.numpy() for variable in variables]
        if self._averages:
            self._optimizer.assign_average_vars(variables)
        model = tf.train.Checkpoint(step=self._step, model=self._model)
        model.save_counter.assign(1)  # the exporter wants it, and writing alone does not make it
        model.write(prefix)
        for variable, value in zip(variables, own):
            variable.assign(value)
        return prefix

    def keep_models(self, keep: int) -> None:
        """Write the last checkpoints as ones of models alone; then ``checkpoint`` names them. It ends the training."""
        import tensorflow as tf

        kept = [os.path.relpath(self.write_model(), self._dir)]
        before = [prefix for prefix in self._manager.checkpoints if progress.step_of(prefix) < self.step]
        for prefix in before[::-1][: keep - 1]:
            self._everything.restore(prefix).assert_existing_objects_matched()
            self.step = int(self._step)
            kept.append(os.path.relpath(self.write_model(), self._dir))
        tf.compat.v1.train.update_checkpoint_state(self._dir, kept[0], kept[::-1])

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
