"""A run on the terminal: one line per finished step, a live line for the one that is under way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Optional

from jetlane.flows.cli.live_line import LiveLine
from jetlane.tasks.run.facts import CACHED, DECIDED, FAILED, MADE, REFUSED, SKIPPED, UNCHANGED, StepFacts

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {
    MADE: "green",
    CACHED: "cyan",
    UNCHANGED: "cyan",
    DECIDED: "green",
    SKIPPED: "yellow",
    FAILED: "bold red",
    REFUSED: "bold red",
}
#: What a step does before it can say how far it is.
_BEGINS = {
    "dataset": "labels and images are read",
    "train": "TensorFlow starts, and builds the network",
    "evaluate": "TensorFlow starts, and measures the checkpoint on the validation images",
    "export": "TensorFlow starts, and freezes the graph",
    "convert": "the graph is written as UFF and ONNX",
    "preflight": "TensorFlow and the converted model detect in the same images",
    "release": "files are packed, hashed and signed",
    "deploy": "devices are asked what they run",
    "report": "the page is drawn",
}


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, emoji=False, soft_wrap=True)


@contextmanager
def waiting(text: str) -> Iterator[Callable[[], None]]:
    """Say what is waited for, until the context ends or what it gives is called."""
    line = LiveLine(_console())
    line.begin(text)
    try:
        yield line.end
    finally:
        line.end()


class TerminalRunObserver:
    """A ``jetlane.tasks.run.observer.RunObserver`` for people."""

    def __init__(self) -> None:
        self._console = _console()
        self._line = LiveLine(self._console)

    def started(self, step: str) -> None:
        self._line.begin(f"{step:<10} {_BEGINS.get(step, '...')}")

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        share = f" {100 * fraction:3.0f} %" if fraction is not None else ""
        self._line.update(f"{step:<10}{share}  {text}")

    def finished(self, step: StepFacts) -> None:
        self._line.end()
        seconds = f"{step.seconds:7.1f} s" if step.state == MADE else " " * 9
        style = _STYLES.get(step.state, "")
        self._console.print(f"{step.name:<10} [{style}]{step.state:<9}[/] {seconds}  ", end="")
        self._console.print(step.note, markup=False)

    def note(self, text: str) -> None:
        self._line.end()
        self._console.print(f"           {text}", style="yellow", markup=False)
