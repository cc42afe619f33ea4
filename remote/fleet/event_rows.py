"""What goes into the ledger and comes out of it: JSON of bounded size, whose texts harm no terminal, file or page.

A board's words end here, an older version's rows begin here. So both ways are looked at: what is written, and what is
read of a ledger that a version before this one, or a failing disk, has written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Optional

from jetlane.remote.fleet.scrubbing import environment, scrub_text
from jetlane.remote.fleet.state import Event
from jetlane.specs.text import TEXT, harmless

#: Of a device's event: characters in all, entries of a list or mapping; and how deep lists and mappings nest.
DEVICE, ENTRIES, DEPTH = 32_000, 200, 12
#: Widths of the columns; see ``models``.
_ROLLOUT, _KIND, _DEVICE, _RUNS = 40, 32, 80, 120
#: Instead of what has no room.
_MORE = "…"
#: What ``harmless`` adds to a cut text.
_CUT = "… (1000000 characters more)"


def row_of(
    rollout: str, kind: str, device: Optional[str], runs: Optional[str], data: Mapping[str, Any]
) -> dict[str, Any]:
    """An event as the columns of a row, without secrets; read back by ``event_of`` it is the same."""
    return {
        "rollout": harmless(rollout, _ROLLOUT),
        "kind": harmless(kind, _KIND),
        "device": None if device is None else harmless(device, _DEVICE),
        "runs": None if runs is None else harmless(runs, _RUNS),
        "data": bounded_data(data, device is not None),
    }


def bounded_data(data: Mapping[str, Any], of_device: bool = False) -> dict[str, Any]:
    """The data of an event as they are written; what a rollout says of itself may be as long as its fleet."""
    return _BoundedData(environment(), 1.0 if of_device else math.inf).mapping(data, 0)


def event_of(number: Any, at: Any, rollout: Any, kind: Any, device: Any, runs: Any, data: Any) -> Event:
    """A row as an event, whoever wrote it; data that are no JSON object are told under ``unreadable``."""
    return Event(
        number=number if isinstance(number, int) else 0,
        at=float(at) if isinstance(at, (int, float)) and math.isfinite(at) else 0.0,
        rollout=harmless(_text(rollout), _ROLLOUT),
        kind=harmless(_text(kind), _KIND),
        device=None if device is None else harmless(_text(device), _DEVICE),
        runs=None if runs is None else harmless(_text(runs), _RUNS),
        data=_BoundedData(None, 2.0 if device is not None else math.inf).mapping(_parsed(data), 0),
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _parsed(data: Any) -> Mapping[str, Any]:
    """PostgreSQL's driver gives what it parsed, SQLite's the text."""
    found = data
    if isinstance(data, (str, bytes)):
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = _text(data)
    return found if isinstance(found, Mapping) else {"unreadable": found}


class _BoundedData:
    """Makes one event's data plain.

    Args:
        known: Secrets to hide; None: nothing is looked for.
        room: So many times ``DEVICE`` and ``ENTRIES`` are its limits; what was cut when it was written has room when
            it is read.
    """

    def __init__(self, known: Optional[list[str]], room: float) -> None:
        self._known = known
        self._left, self._entries = DEVICE * room, ENTRIES * room

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, item in value.items():
            if len(plain) >= self._entries or self._left <= 0:
                plain[_MORE] = f"{len(value) - len(plain)} more"
                break
            plain[self._string(str(key), 200)] = self._value(item, depth + 1)
        return plain

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._string(value, TEXT)
        if value is None or isinstance(value, bool):
            return value
        self._left -= 8
        if isinstance(value, int):
            return value if value.bit_length() < 64 else f"a number of {value.bit_length()} bits"
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if not isinstance(value, (Mapping, list, tuple)):
            return self._string(str(value), TEXT)
        if depth > DEPTH:
            return _MORE
        return self.mapping(value, depth) if isinstance(value, Mapping) else self._list(value, depth)

    def _list(self, value: Any, depth: int) -> list[Any]:
        plain: list[Any] = []
        for item in value:
            if len(plain) >= self._entries or self._left <= 0:
                plain.append(f"{_MORE} {len(value) - len(plain)} more")
                break
            plain.append(self._value(item, depth + 1))
        return plain

    def _string(self, text: str, limit: int) -> str:
        if self._known is not None:
            text = scrub_text(text[: 2 * limit], self._known) + text[2 * limit :]
        text = harmless(text, int(min(limit, max(self._left, 0) + len(_CUT))), lines=True)
        self._left -= len(text)
        return text
