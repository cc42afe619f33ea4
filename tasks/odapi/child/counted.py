"""Tells the parent how many images a job has done, about once a second."""

from __future__ import annotations

import time
from typing import Any


class Counted:
    """Counts, and emits ``count`` with ``done``."""

    def __init__(self, emit: Any) -> None:
        self._emit, self._done, self._said = emit, 0, time.time()

    def more(self, number: int = 1) -> None:
        """So many more are done."""
        self._done += number
        if time.time() - self._said >= 1.0:
            self._said = time.time()
            self._emit("count", done=self._done)


def hook(counted: Counted) -> Any:
    """A session hook that counts a run as an image: the OD API evaluates one at a time."""
    import tensorflow.compat.v1 as tf

    class CountHook(tf.train.SessionRunHook):  # type: ignore[misc]
        def after_run(self, run_context: Any, run_values: Any) -> None:
            counted.more()

    return CountHook()
