"""Saves a training at every multiple of some numbers of steps, and lets others see what was saved."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Callable

#: Told the prefix and the step of a checkpoint that was just written; True ends the training.
Seen = Callable[[str, int], bool]
#: Checkpoints that a training keeps while it goes: the last, and one before it.
_KEPT = 2


def hook(
    model_dir: str, start: int, every: Sequence[int], before: Callable[[], None], seen: Seen, keep: int = 1
) -> Any:
    """A session hook that saves at multiples of each of ``every``, and when the training ends.

    Steps are counted from zero, not from where a resumed training starts, so that this changes nothing. The estimator's
    own hook knows one interval alone, and writes the graph with every checkpoint.

    Args:
        start: The step that the training starts from.
        before: Called before each checkpoint is written.
        seen: Called after it.
        keep: Checkpoints that stay.
    """
    import tensorflow.compat.v1 as tf

    class SavingHook(tf.train.SessionRunHook):  # type: ignore[misc]
        def begin(self) -> None:
            self._saver = tf.get_collection(tf.GraphKeys.SAVERS)[0]  # the same for every replica
            self._saver.saver_def.max_to_keep = max(keep, _KEPT)
            self._step = self._saved = start

        def after_create_session(self, session: Any, coord: Any) -> None:
            tf.summary.FileWriterCache.get(model_dir).add_graph(session.graph)

        def after_run(self, run_context: Any, run_values: Any) -> None:
            self._step += 1
            if any(self._step % each == 0 for each in every) and self._save(run_context.session):
                run_context.request_stop()

        def end(self, session: Any) -> None:
            if self._saved != self._step:
                self._save(session)

        def _save(self, session: Any) -> bool:
            before()
            self._saved = self._step
            path = os.path.join(model_dir, "model.ckpt")
            prefix = self._saver.save(session, path, global_step=self._step, write_meta_graph=False)
            return seen(prefix, self._step)

    return SavingHook()
