"""A command on a terminal of its own, and what it wrote there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from .double import ROOT

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)", re.DOTALL)


class Terminal:
    """Runs a command on a pty.

    Args:
        waits: (silence, limit) in seconds; see ``short_waits``.
    """

    def __init__(self, arguments: Sequence[str], folder: Path, waits: Optional[tuple[float, float]] = None) -> None:
        program = ["-m", "jetlane"] if waits is None else ["-m", "tests.remote.hostile.short_waits", *map(str, waits)]
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "COLUMNS": "160"}
        environment = {
            name: value for name, value in environment.items() if name not in ("NO_COLOR", "PREFECT_API_URL")
        }
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self._written = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        try:
            while chunk := os.read(self._master, 1 << 16):
                self._written += chunk
        except OSError:  # the other side is closed
            return

    def interrupt(self) -> None:
        """One Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, seconds: float) -> tuple[int, str]:
        """(exit code, what was written), once the command has ended; it fails where that takes longer."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end within {seconds} s: {self.text[-2000:]}") from None
        finally:
            self._reader.join(2.0)
            os.close(self._master)
        return code, self.text

    @property
    def text(self) -> str:
        return self._written.decode("utf-8", "surrogateescape")


def sequences(text: str) -> set[str]:
    """The kinds of escape sequences in a text: numbers count as one."""
    return {re.sub(r"[0-9;]+", "0", found) for found in _SEQUENCE.findall(text)}


def refuse_control(text: str, usual: set[str]) -> None:
    """Fail where the terminal gets other escape sequences than usual."""
    assert sequences(text) <= usual, sequences(text) - usual
    rest = _SEQUENCE.sub("", text)
    bad = {c for c in rest if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in "\r\n\u200c\u200d"}
    assert not bad, bad
    assert "Traceback" not in text and "Exception in thread" not in text, text[-3000:]
