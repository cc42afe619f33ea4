"""Writes the pages of docs/reference: ``python -m tests.pages.write``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.pages import commands, events, library, protocol, release_layout

FOLDER = Path(__file__).resolve().parent.parent.parent / "docs" / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands.document,
    "events.md": events.document,
    "python.md": library.document,
    "agent-protocol.md": protocol.document,
    "release.md": release_layout.document,
}

if __name__ == "__main__":
    for name, document in PAGES.items():
        (FOLDER / name).write_text(document())
