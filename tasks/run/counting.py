"""Progress of a step that does one thing after the other: how many, at which rate, and for how long still."""

from __future__ import annotations

from collections.abc import Callable

from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counted import Told, rated


def counting(run: Run, step: str, total: int, words: str = "image") -> Callable[[int], None]:
    """What is to be called with the number that a step has done so far; see ``rated``."""
    told = telling(run, step)
    return lambda done: told(words, done, total)


def telling(run: Run, step: str) -> Told:
    """Tells a run's observer how far a step is."""
    return rated(lambda fraction, text: run.observer.update(step, fraction, text))
