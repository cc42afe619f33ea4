"""Evaluations amid a training: the validation curve, its best checkpoint, and an end when nothing is gained any more.

The evaluated network is built once and stays; its variables are read from each checkpoint. Estimator.evaluate would
build it anew every time, which takes longer than to evaluate a few hundred images.
"""

from __future__ import annotations

import glob
import json
import os
from typing import Any, Optional

from . import slots
from .class_metrics import BOXES, per_class
from .widths import Widths

FILE = "validation.json"
#: What is best, by the name it has in the spec.
METRICS = ("map", "map50", "map75", "worst_class")
_COCO = {"map": "Precision/mAP", "map50": "Precision/mAP@.50IOU", "map75": "Precision/mAP@.75IOU"}


class Validation:
    """What a training's checkpoints are worth, kept in a file so that a resumed training goes on with it.

    Args:
        every: Steps between evaluations.
        metric: One of ``METRICS``.
        patience: Evaluations without a gain that end the training; None: none do.
        table: Of a pruned network.
    """

    def __init__(
        self,
        model_dir: str,
        made: Any,
        every: int,
        metric: str,
        patience: Optional[int],
        total: int,
        emit: Any,
        table: Optional[Widths] = None,
    ) -> None:
        self.every, self.metric, self.patience = every, metric, patience
        self._folder, self._made, self._total, self._emit, self._table = model_dir, made, total, emit, table
        self._path = os.path.join(model_dir, FILE)
        self.rows: list[dict[str, Any]] = _load(self._path)
        self._network: Any = None

    @property
    def best(self) -> Optional[dict[str, Any]]:
        """The first of the best evaluations."""
        return max(self.rows, key=lambda row: row[self.metric]) if self.rows else None

    @property
    def waited(self) -> int:
        """Evaluations since the best one."""
        return len(self.rows) - 1 - self.rows.index(self.best) if self.best else 0

    @property
    def exhausted(self) -> bool:
        return self.patience is not None and self.waited >= self.patience

    @property
    def checkpoint(self) -> Optional[str]:
        """Prefix of the best checkpoint, which has no optimiser slots."""
        return slots.place(self._folder, self.best["step"]) if self.best else None

    def see(self, prefix: str, step: int) -> bool:
        """Evaluate a checkpoint where its step asks for it; True when training is to end."""
        due = step and (step % self.every == 0 or step == self._total)
        if due and all(row["step"] != step for row in self.rows):
            row = {"step": step, **self._evaluate(prefix)}
            self.rows.append(row)
            self._keep_best(prefix)
            self._emit("evaluated", **row)
        return self.exhausted

    def close(self) -> None:
        """Give back what the evaluated network holds."""
        if self._network is not None:
            self._network.close()
            self._network = None

    def _evaluate(self, prefix: str) -> dict[str, float]:
        if self._network is None:
            self._network = _Network(self._made)
        measured: dict[str, float] = self._network.measure(prefix)
        return measured

    def _keep_best(self, prefix: str) -> None:
        """The best is there before the file names it, and what was best before goes after that."""
        best = self.checkpoint
        assert best is not None
        if self.waited == 0:
            slots.write(prefix, best, self._table)
        with open(self._path + ".tmp", "w", encoding="utf-8") as file:
            json.dump(self.rows, file)
        os.replace(self._path + ".tmp", self._path)
        for path in glob.glob(os.path.join(glob.escape(os.path.dirname(best)), "model.ckpt-*")):
            if not path.startswith(best + "."):
                slots.delete(path)


def _load(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8") as file:
            rows: list[dict[str, Any]] = json.load(file)
            return rows
    except (OSError, ValueError):
        return []


class _Network:
    """The network as it is evaluated, in a session of its own beside that of the training."""

    def __init__(self, made: Any) -> None:
        import tensorflow.compat.v1 as tf

        with tf.Graph().as_default() as self._graph:
            tf.train.create_global_step()
            with tf.device("/cpu:0"):
                self._images = tf.data.make_initializable_iterator(made["eval_input_fns"][0]())
                features, labels = self._images.get_next()
            estimator = made["estimator"]
            spec = estimator.model_fn(features, labels, tf.estimator.ModeKeys.EVAL, estimator.config)
            metrics = {name: ops for name, ops in spec.eval_metric_ops.items() if name.startswith(BOXES)}
            self._values = {name[len(BOXES) :]: value for name, (value, _) in metrics.items()}
            self._updates = [update for _, update in metrics.values()]
            self._saver = spec.scaffold.saver
            self._start = [tf.local_variables_initializer(), tf.tables_initializer(), self._images.initializer]
            self._session = tf.Session()

    def close(self) -> None:
        self._session.close()

    def measure(self, prefix: str) -> dict[str, float]:
        """mAP, mAP@0.5, mAP@0.75 and the least AP@0.5 of a class, under the names of ``METRICS``."""
        import tensorflow.compat.v1 as tf

        with self._graph.as_default():
            self._saver.restore(self._session, prefix)
        self._session.run(self._start)
        while True:
            try:
                self._session.run(self._updates)
            except tf.errors.OutOfRangeError:
                break
        with per_class() as classes:
            values = self._session.run(self._values)
        known = [one["AP@0.5"] for one in classes.values() if one["AP@0.5"] is not None]
        return {**{name: float(values[key]) for name, key in _COCO.items()}, "worst_class": min(known, default=0.0)}
