"""Work in a thread of its own for the time of a ``with`` block."""

from __future__ import annotations

import contextvars
import threading
from typing import TypeVar

Own = TypeVar("Own", bound="BackgroundThread")


class BackgroundThread:
    """Base of what does its work in a thread while a ``with`` block lasts; the block ends when the thread has ended.

    Args:
        name: The thread's. It keeps the context variables of whoever makes it.

    Attributes:
        ended: Set at the end of the block.
    """

    def __init__(self, name: str) -> None:
        self.ended = threading.Event()
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self.run_until_ended,), name=name, daemon=True)

    def __enter__(self: Own) -> Own:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self._thread.join()

    def run_until_ended(self) -> None:
        """The work: returns soon after ``ended`` is set."""
        raise NotImplementedError
