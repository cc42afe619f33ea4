"""Progress of a step that does one thing after the other: how many, at which rate, and for how long still."""

from __future__ import annotations

import time
from collections.abc import Callable

from jetlane.tasks.run.context import Run


def counting(run: Run, step: str, total: int, words: str = "image") -> Callable[[int], None]:
    """What is to be called with the number that is done so far; the rate is from the first call on.

    Args:
        total: 0 where it is not known.
        words: What is counted, in the singular.
    """
    begun: list[tuple[float, int]] = []

    def counted(done: int) -> None:
        now = time.monotonic()
        if not begun:
            begun.append((now, done))
        since, first = begun[0]
        rate = (done - first) / (now - since) if now > since else 0.0
        of = f" of {total}" if total else ""
        text = f"{words} {done}{of}"
        if rate:
            text += f", {rate:.1f} {words}s/s"
            text += f", {(total - done) / rate:.0f} s to go" if total >= done else ""
        run.observer.update(step, min(done / total, 1.0) if total else None, text)

    return counted
