"""How a run says what it is doing. The steps do not know who observes it: a terminal, Prefect, or no one."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import time
from collections.abc import Iterable
from typing import Optional, Protocol

from jetlane.tasks.run.facts import StepFacts

_log = logging.getLogger(__name__)


class RunObserver(Protocol):
    """What a run tells while it goes on."""

    def started(self, step: str) -> None:
        """A step begins: nothing of it was found."""

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        """A step goes on; ``fraction`` is of 1, None where the end is not known."""

    def finished(self, step: StepFacts) -> None:
        """A step ended, in whatever state."""

    def note(self, text: str) -> None:
        """Something a person should read."""


class LoggingRunObserver:
    """Logs under ``jetlane``: what a run does that is observed in no other way."""

    def started(self, step: str) -> None:
        _log.info("%s: started", step)

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        _log.debug("%s: %s", step, text)

    def finished(self, step: StepFacts) -> None:
        _log.info("%s", _line(step))

    def note(self, text: str) -> None:
        _log.info("%s", text)


class RunObserverGroup:
    """Passes everything on to several observers."""

    def __init__(self, observers: Iterable[RunObserver]) -> None:
        self._observers = tuple(observers)

    def started(self, step: str) -> None:
        for observer in self._observers:
            observer.started(step)

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        for observer in self._observers:
            observer.update(step, fraction, text)

    def finished(self, step: StepFacts) -> None:
        for observer in self._observers:
            observer.finished(step)

    def note(self, text: str) -> None:
        for observer in self._observers:
            observer.note(text)


class PrefectRunObserver:
    """The steps as log lines of the flow run, and a progress artifact for each step that reports fractions.

    Updates may come from threads of a step's own, such as those that work on devices; the artifacts belong to the run
    that started the step all the same.
    """

    def __init__(self, every_seconds: float = 2.0) -> None:
        self._every = every_seconds
        self._artifacts: dict[str, object] = {}
        self._last = 0.0
        self._context = contextvars.copy_context()

    def started(self, step: str) -> None:
        self._context = contextvars.copy_context()
        self._log(f"{step}: started")

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        if fraction is None or (fraction < 1 and time.monotonic() - self._last < self._every):
            return
        self._last = time.monotonic()
        percent = round(100 * min(max(fraction, 0.0), 1.0), 1)
        self._context.copy().run(self._publish, step, percent, text)

    def _publish(self, step: str, percent: float, text: str) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if step not in self._artifacts:
            self._artifacts[step] = create_progress_artifact(percent, key=f"{step}-progress", description=text)
        else:
            update_progress_artifact(self._artifacts[step], progress=percent, description=text)  # type: ignore[arg-type]

    def finished(self, step: StepFacts) -> None:
        self._log(_line(step))

    def note(self, text: str) -> None:
        self._log(text)

    def _log(self, text: str) -> None:
        from prefect.exceptions import MissingContextError
        from prefect.logging import get_run_logger

        with contextlib.suppress(MissingContextError):  # a step called outside any flow run
            get_run_logger().info(text)


def _line(step: StepFacts) -> str:
    return f"{step.name}: {step.state}" + (f", {step.note}" if step.note else "")
