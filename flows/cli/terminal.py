"""The run on a terminal: a line per finished step, and what is under way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.util import find_spec
from typing import Any, Callable, Optional, TextIO

from jetlane.tasks.run.counted import clock, to_go
from jetlane.tasks.run.facts import CACHED, DECIDED, FAILED, MADE, REFUSED, SKIPPED, UNCHANGED, StepFacts

#: Whether runs of this process say nothing while they go on.
QUIET: ContextVar[bool] = ContextVar("jetlane-quiet", default=False)
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
    "prune": "TensorFlow starts, and the weakest channels are looked for",
    "retrain": "the pruned network is built",
    "evaluate": "TensorFlow starts, and measures the checkpoint on the validation images",
    "export": "TensorFlow starts, and freezes the graph",
    "convert": "the graph is written as UFF and ONNX",
    "quantize": "onnxruntime measures how large the network's values get",
    "preflight": "TensorFlow and the converted model detect in the same images",
    "release": "files are packed, hashed and signed",
    "deploy": "devices are asked what they run",
    "report": "the page is drawn",
}
#: What goes on before the first step, and between two.
_BEFORE, _BETWEEN = "the spec is checked, and what earlier runs made is looked for", "what comes next is prepared"
#: Seconds between two lines about a step where there is no terminal, and until the first one about anything else.
PLAIN_SECONDS, _SOON = 30.0, 2.0
#: Seconds and share of a step from which on the time left is estimated: the first steps of a training say little.
_ESTIMATED_SECONDS, _ESTIMATED_SHARE = 2.0, 0.02


@contextmanager
def waiting(text: str) -> Iterator[Callable[[], None]]:
    """Say what is waited for, until the context ends or what it gives is called."""
    with TerminalRunObserver() as shown:
        shown.wait(text, 0.0)
        yield shown.stop


@contextmanager
def progress(text: str, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """Show on standard error what a command is at, until the context ends, and how far what is ``Counted`` in it is.

    Standard output is left to what the command prints.

    Yields:
        What is called with what comes next.
    """
    if quiet or find_spec("rich") is None:  # the base install, which converts in seconds, has none
        yield lambda words: None
        return
    from jetlane.tasks.run.counted import listening, rated

    at = text

    def say(words: str) -> None:
        nonlocal at
        at = words
        shown.update("", None, words)

    with TerminalRunObserver(sys.stderr) as shown:
        shown.wait(text, PLAIN_SECONDS)
        with listening(rated(lambda fraction, told: shown.update("", fraction, f"{at}: {told}"))):
            yield say


class TerminalRunObserver:
    """A ``jetlane.tasks.run.observer.RunObserver`` for people; a context manager that leaves the terminal clean.

    On a terminal the running step is redrawn in place, every second and whenever it tells something; into a file or
    pipe a line is written every half minute, and where a run is at no step, after two seconds. Both say for how long it
    has been at work, and for how long still.
    """

    def __init__(self, file: Optional[TextIO] = None) -> None:
        from rich.console import Console

        self._console = Console(file=file or sys.stdout, highlight=False, emoji=False, soft_wrap=True)
        self._live = self._console.status("") if self._console.is_terminal else None
        self._lock = threading.RLock()
        self._began = self._said = time.monotonic()
        self._first: Optional[tuple[float, float]] = None  # when the step told a share for the first time, and which
        self._step, self._fraction, self._text = "", None, ""  # type: tuple[str, Optional[float], str]
        self._ended: Optional[threading.Event] = None

    def __enter__(self) -> TerminalRunObserver:
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()

    def started(self, step: str) -> None:
        self._begin(step, _BEGINS.get(step, ""), PLAIN_SECONDS)

    def wait(self, text: str = _BEFORE, seconds: float = _SOON) -> None:
        """Something other than a step begins; where there is no terminal, it is said in so many seconds."""
        self._begin("", text, seconds)

    def _begin(self, step: str, text: str, seconds: float) -> None:
        self.stop()
        with self._lock:
            self._began = time.monotonic()
            self._said = self._began + seconds - PLAIN_SECONDS
            self._step, self._fraction, self._text, self._first = step, None, text, None
            self._show()
            if self._live is not None:
                self._live.start()
            self._ended = threading.Event()
        threading.Thread(target=self._tick, args=(self._ended,), name="jetlane-terminal", daemon=True).start()

    def update(self, step: str, fraction: Optional[float], text: str) -> None:
        with self._lock:
            self._step, self._fraction, self._text = step, fraction, text
            if self._first is None and fraction is not None:
                self._first = time.monotonic(), fraction
            self._show()

    def finished(self, step: StepFacts) -> None:
        self.stop()
        seconds = f"{step.seconds:7.1f} s" if step.state == MADE else " " * 9
        style = _STYLES.get(step.state, "")
        self._console.print(f"{step.name:<10} [{style}]{step.state:<9}[/] {seconds}  ", end="")
        self._console.print(step.note, markup=False)
        self.wait(_BETWEEN)

    def note(self, text: str) -> None:
        with self._lock:
            self._console.print(f"           {text}", style="yellow", markup=False)

    def _tick(self, ended: threading.Event) -> None:
        while not ended.wait(1.0):
            with self._lock:
                if not ended.is_set():
                    self._show()

    def _show(self) -> None:
        from rich.markup import escape

        now = time.monotonic()
        if self._live is not None:
            self._live.update(escape(self._line(now)))
        elif now - self._said >= PLAIN_SECONDS:
            self._said = now
            self._console.print(self._line(now), markup=False)

    def _line(self, now: float) -> str:
        """Step, share, what it says, for how long, and for how long still where the step does not say so itself."""
        share = f" {100 * self._fraction:3.0f} %" if self._fraction is not None else ""
        at = f"{self._step:<10}{share}  " if self._step else share and f"{share.strip()}  "
        return f"{at}{self._text or '...'}{self._left(now)}{self._for(now)}"

    def _for(self, now: float) -> str:
        return f"  ({clock(now - self._began)})" if now - self._began >= 1 else ""

    def _left(self, now: float) -> str:
        """By the rate since the step told a share for the first time: what it does before says nothing about that."""
        if self._first is None or self._fraction is None or " to go" in self._text:
            return ""
        took, done = now - self._first[0], self._fraction - self._first[1]
        if took < _ESTIMATED_SECONDS or done < _ESTIMATED_SHARE:
            return ""
        return f", {to_go(took * (1 - self._fraction) / done)}"

    def stop(self) -> None:
        """Nothing is under way any more; a terminal shows no line of it."""
        with self._lock:
            if self._ended is not None:
                self._ended.set()
            if self._live is not None:
                self._live.stop()
