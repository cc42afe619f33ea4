"""A TF1-style network as it is evaluated amid its training, and the best of its checkpoints.

It is built once and stays; its variables are read from each checkpoint. Estimator.evaluate would build it anew every
time, which takes longer than to evaluate a few hundred images.
"""

from __future__ import annotations

from typing import Any, Optional

from . import slots
from .class_metrics import BOXES, per_class
from .validation import figures
from .widths import Widths


class Evaluated:
    """See ``validation.Validation``.

    Args:
        made: Of ``configs.estimator_and_inputs``.
        table: Of a pruned network.
    """

    def __init__(self, model_dir: str, made: Any, table: Optional[Widths] = None) -> None:
        self._folder, self._made, self._table = model_dir, made, table
        self._session: Any = None

    def place(self, step: int) -> str:
        return slots.place(self._folder, step)

    def keep(self, prefix: str, best: str) -> None:
        slots.write(prefix, best, self._table)

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def measure(self, prefix: str) -> dict[str, float]:
        """The figures of a checkpoint."""
        import tensorflow.compat.v1 as tf

        if self._session is None:
            self._build()
        with self._graph.as_default():
            self._saver.restore(self._session, prefix)
        self._session.run(self._start)
        while True:
            try:
                self._session.run(self._updates)
            except tf.errors.OutOfRangeError:
                break
        with per_class() as classes:
            return figures(self._session.run(self._values), classes)

    def _build(self) -> None:
        """The network, in a session of its own beside that of the training."""
        import tensorflow.compat.v1 as tf

        with tf.Graph().as_default() as self._graph:
            tf.train.create_global_step()
            with tf.device("/cpu:0"):
                self._images = tf.data.make_initializable_iterator(self._made["eval_input_fns"][0]())
                features, labels = self._images.get_next()
            estimator = self._made["estimator"]
            spec = estimator.model_fn(features, labels, tf.estimator.ModeKeys.EVAL, estimator.config)
            metrics = {name: ops for name, ops in spec.eval_metric_ops.items() if name.startswith(BOXES)}
            self._values = {name[len(BOXES) :]: value for name, (value, _) in metrics.items()}
            self._updates = [update for _, update in metrics.values()]
            self._saver = spec.scaffold.saver
            self._start = [tf.local_variables_initializer(), tf.tables_initializer(), self._images.initializer]
            self._session = tf.Session()
