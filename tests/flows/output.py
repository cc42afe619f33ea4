"""What a command prints while it runs."""

from __future__ import annotations

import subprocess


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read lines until one has these words; gives all that was read."""
    assert process.stdout is not None
    seen = ""
    while words not in seen:
        line = process.stdout.readline()
        assert line, f"it ended without {words!r}:\n{seen}"
        seen += line
    return seen
