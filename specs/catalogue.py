"""Errors that people meet between a frozen graph and an engine: what the message means, and what to do.

``errors.json`` is the catalogue. Our own checks take their causes and remedies from it, the agent answers
TensorRT's log with it, and ``docs/troubleshooting.md`` is made from it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

#: Where the catalogue lies; the agent takes a copy along.
FILE = Path(__file__).parent / "errors.json"

STAGES = ("convert", "parse", "build", "load", "run", "install")


@dataclass(frozen=True)
class Entry:
    """One error.

    Attributes:
        id: Its name in the code.
        stage: Where it is met: ``convert``, ``parse``, ``build``, ``load``, ``run`` or ``install``.
        messages: Its words as people meet them; none for a fault without a message.
        patterns: Regular expressions, any of which is found in such a message.
        cause: Why it happens.
        remedy: What to do.
        sources: The public threads it is known from, ``owner/repository#number``.
    """

    id: str
    stage: str
    messages: tuple[str, ...]
    patterns: tuple[str, ...]
    cause: str
    remedy: str
    sources: tuple[str, ...]

    def matches(self, text: str) -> bool:
        """True where the text holds this error's message."""
        return any(re.search(pattern, text, re.MULTILINE | re.IGNORECASE) for pattern in self.patterns)


@lru_cache(maxsize=1)
def entries() -> tuple[Entry, ...]:
    """The whole catalogue, the most particular errors first."""
    rows = json.loads(FILE.read_text(encoding="utf-8"))["entries"]
    return tuple(_entry(row) for row in rows)


def _entry(row: dict[str, Any]) -> Entry:
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Entry(**fields)


def entry(name: str) -> Entry:
    """The entry of that id."""
    return next(found for found in entries() if found.id == name)


def match(text: str) -> list[Entry]:
    """Entries whose message is in the text, the most particular first."""
    return [found for found in entries() if found.matches(text)]
