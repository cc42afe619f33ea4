"""One line about what is under way: nobody looks at a silent terminal for more than ten seconds."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from rich.console import Console

#: Into a file or a pipe a line is written so often.
PLAIN_SECONDS = 10.0
#: What is quicker needs no clock.
_SHOWN_FROM = 2.0


class LiveLine:
    """On a terminal it is redrawn in place; into a file or pipe it is written at most every ten seconds.

    It goes on by itself: what is under way need not say anything.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.status("") if console.is_terminal else None
        self._text = ""
        self._began = self._said = 0.0
        self._ended: Optional[threading.Event] = None
        self._turn = threading.Lock()

    def begin(self, text: str) -> None:
        """Something begins; what was under way before has ended."""
        self.end()
        self._text = text
        self._began = self._said = time.monotonic()
        self._ended = threading.Event()
        if self._live is not None:
            self._live.start()
        self._show()
        threading.Thread(target=self._go_on, args=(self._ended,), daemon=True).start()

    def update(self, text: str) -> None:
        """It goes on; ``text`` says how far it is."""
        self._text = text
        self._show()

    def end(self) -> None:
        """It has ended; the line is gone from a terminal."""
        with self._turn:
            if self._ended is not None:
                self._ended.set()
                self._ended = None
            if self._live is not None:
                self._live.stop()

    def _go_on(self, ended: threading.Event) -> None:
        while not ended.wait(1.0):
            self._show()

    def _show(self) -> None:
        from rich.markup import escape

        with self._turn:
            if self._ended is None:
                return
            now = time.monotonic()
            passed = now - self._began
            line = f"{self._text}  ({passed:.0f} s)" if passed >= _SHOWN_FROM else self._text
            if self._live is not None:
                self._live.update(escape(line))
            elif now - self._said >= PLAIN_SECONDS:
                self._said = now
                self._console.print(line, markup=False)
