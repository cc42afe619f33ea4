"""Events as rows of the ledger: JSON of bounded size, with texts that are safe to show in terminals, files and pages.

Texts of devices are bounded and escaped when they are written. Rows are checked again when they are read, because an
older version or a failing disk may have written them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Optional

from jetlane.remote.fleet.scrubbing import environment, scrub_text
from jetlane.remote.fleet.state import BY_HAND, ROLLED_BACK, Event
from jetlane.specs.support.text import TEXT, harmless

#: Limits of a device's event: characters in total, entries of a list or mapping, nesting of lists and mappings.
DEVICE, ENTRIES, DEPTH = 32_000, 200, 12
#: Widths of the columns in ``models``.
_ROLLOUT, _KIND, _DEVICE, _RUNS = 40, 32, 80, 120
#: Stands for what was cut.
_MORE = "…"
#: The longest text that ``harmless`` adds where it cuts.
_CUT = "… (1000000 characters more)"


def row_of(
    rollout: str, kind: str, device: Optional[str], runs: Optional[str], data: Mapping[str, Any]
) -> dict[str, Any]:
    """The columns of an event's row, with secrets hidden; ``event_of`` reads it back unchanged."""
    return {
        "rollout": harmless(rollout, _ROLLOUT),
        "kind": harmless(kind, _KIND),
        "device": None if device is None else harmless(device, _DEVICE),
        "runs": None if runs is None else harmless(runs, _RUNS),
        "data": bounded_data(data, device is not None),
    }


def bounded_data(data: Mapping[str, Any], of_device: bool = False) -> dict[str, Any]:
    """The data of an event as they are written. Size is bounded for devices alone: a plan grows with its fleet."""
    return _BoundedData(environment(), 1.0 if of_device else math.inf).mapping(data, 0)


def event_of(number: Any, at: Any, rollout: Any, kind: Any, device: Any, runs: Any, data: Any) -> Event:
    """The event in a row; data that are no JSON object are returned under ``unreadable``."""
    return Event(
        number=number if isinstance(number, int) else 0,
        at=float(at) if isinstance(at, (int, float)) and math.isfinite(at) else 0.0,
        rollout=harmless(_text(rollout), _ROLLOUT),
        kind=harmless(_text(kind), _KIND),
        device=None if device is None else harmless(_text(device), _DEVICE),
        runs=None if runs is None else harmless(_text(runs), _RUNS),
        data=_current_names(_BoundedData(None, 2.0 if device is not None else math.inf).mapping(_parsed(data), 0)),
    )


def _current_names(data: dict[str, Any]) -> dict[str, Any]:
    """An event's data under this version's names: 0.1 said ``road`` for ``backend``, in facts and kinds.

    A rollback that a person asked for had no kind before, but this reason.
    """
    if data.get("state") == ROLLED_BACK and data.get("reason") == "by hand":
        data.setdefault("kind", BY_HAND)
    if data.get("kind") == "road":
        data["kind"] = "backend"
    facts = data.get("facts")
    if isinstance(facts, dict) and "road" in facts:
        facts.setdefault("backend", facts.pop("road"))
    return data


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _parsed(data: Any) -> Mapping[str, Any]:
    """The data of a row as a mapping; PostgreSQL's driver returns parsed JSON, SQLite's the text."""
    found = data
    if isinstance(data, (str, bytes)):
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            found = _text(data)
    return found if isinstance(found, Mapping) else {"unreadable": found}


class _BoundedData:
    """Makes a bounded copy of one event's data.

    Args:
        known: Secrets to hide; None: do not look for secrets.
        room: Factor on the limits ``DEVICE`` and ``ENTRIES``; it is larger for reading, so that a text that was cut
            when written is not cut again.
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
