"""How far something is that is done one by one: counted where it is done, told where somebody listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Optional, TypeVar

Item = TypeVar("Item")
#: Is told what is counted (in the singular), how many are done, and how many there are: 0 where that is not known.
Told = Callable[[str, int, int], None]

_LISTENER: ContextVar[Optional[Told]] = ContextVar("jetlane-counting", default=None)
#: Seconds between two texts of the same count: a person reads no faster.
_APART = 0.1


@contextmanager
def listening(told: Told) -> Iterator[None]:
    """Have everything that is ``Counted`` in the context told."""
    before = _LISTENER.set(told)
    try:
        yield
    finally:
        _LISTENER.reset(before)


@dataclass
class Counted:
    """Counts what goes through it, and tells whoever listens: ``for image in Counted("image", 100)(images)``.

    Several iterables, one after the other, are one count.

    Attributes:
        words: What is counted, in the singular.
        total: 0 where it is not known.
    """

    words: str
    total: int = 0
    done: int = 0

    def __call__(self, items: Iterable[Item]) -> Iterator[Item]:
        told = _LISTENER.get()
        for item in items:
            self.done += 1
            if told is not None:
                told(self.words, self.done, self.total)
            yield item


def rated(update: Callable[[Optional[float], str], None]) -> Told:
    """Passes a count on as a fraction (None where the total is not known) and a text with the rate, which is from the
    first call about the same words and total on.
    """
    counts = ("", 0)
    began = said = 0.0
    first = 0

    def told(words: str, done: int, total: int) -> None:
        nonlocal counts, began, said, first
        now = time.monotonic()
        if counts != (words, total) or done < first:
            counts, began, first = (words, total), now, done
        elif now - said < _APART and done != total:
            return
        said = now
        rate = (done - first) / (now - began) if now > began else 0.0
        text = f"{words} {done}" + (f" of {total}" if total else "")
        if rate:
            text += f", {rate:.1f} {words}s/s"
            text += f", {to_go((total - done) / rate)}" if total >= done else ""
        update(min(done / total, 1.0) if total else None, text)

    return told


def to_go(seconds: float) -> str:
    """``about 6:57 to go``."""
    return f"about {clock(seconds)} to go"


def clock(seconds: float) -> str:
    """``0:07``, ``12:05``, ``3:00:00``."""
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
