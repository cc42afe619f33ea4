"""A run on the terminal: one line per finished step, a live line for the one that is under way."""

from __future__ import annotations

import sys
import time
from typing import Optional

from jetlane.tasks.run.facts import CACHED, DECIDED, FAILED, MADE, REFUSED, SKIPPED, UNCHANGED, StepFacts

_STYLES = {
    MADE: "green",
    CACHED: "cyan",
    UNCHANGED: "cyan",
    DECIDED: "green",
    SKIPPED: "yellow",
    FAILED: "bold red",
    REFUSED: "bold red",
}
_PLAIN_SECONDS = 10.0


class TerminalRunObserver:
    """A ``jetlane.tasks.run.observer.RunObserver`` for people.

    On a terminal the running step is redrawn in place; into a file or pipe a line is written at most every ten seconds.
    """

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=True)
        self._live = self._console.status("") if self._console.is_terminal else None
        self._began = self._said = time.monotonic()

    def started(self, step: str) -> None:
        self._began = self._said = time.monotonic()
        if self._live is not None:
            self._live.update(f"{step} ...")
            self._live.start()

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        from rich.markup import escape

        now = time.monotonic()
        share = f" {100 * fraction:3.0f} %" if fraction is not None else ""
        line = f"{step:<10}{share}  {text}"
        if self._live is not None:
            self._live.update(escape(line))
        elif now - self._said >= _PLAIN_SECONDS:
            self._said = now
            self._console.print(line, markup=False)

    def finished(self, step: StepFacts) -> None:
        self._stop()
        seconds = f"{step.seconds:7.1f} s" if step.state == MADE else " " * 9
        style = _STYLES.get(step.state, "")
        self._console.print(f"{step.name:<10} [{style}]{step.state:<9}[/] {seconds}  ", end="")
        self._console.print(step.note, markup=False)

    def note(self, text: str) -> None:
        self._stop()
        self._console.print(f"           {text}", style="yellow", markup=False)

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
