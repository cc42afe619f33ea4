"""Exports the readable events of a ledger, and imports an export into a new ledger.

An export is JSON lines in ASCII. The first line identifies it (``{"jetlane-ledger": 1, ...}``), each of the others is
one event (``number``, ``at``, ``rollout``, ``kind``, ``device``, ``runs``, ``data``; see ``state.Event``) in the order
of their numbers, and the last counts them and lists the lost numbers (``{"events": 120, "lost": [[17, 23]]}``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, TextIO

from jetlane.remote.fleet.ledger_check import LedgerCheck
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.ledger_reader import COLUMNS, MissingNumbers, open_reader, parsed_data
from jetlane.specs.support import secrets

#: Version of the export's format.
FORMAT = 1


def export(url: str, out: TextIO) -> LedgerCheck:
    """Write every event that can be read as JSON lines. Nothing is changed in the ledger.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    with open_reader(url) as reader:
        found, missing = LedgerCheck(reader.damage), MissingNumbers()
        print(json.dumps({"jetlane-ledger": FORMAT, "from": secrets.shown(url)}), file=out)
        for row in reader.rows:
            print(json.dumps(dict(zip(COLUMNS, row[:-1]), data=parsed_data(row.data)), default=str), file=out)
            found.events += 1
            missing.add(row.number)
        found.lost = missing.until(reader.last) if reader.dense else []
        print(json.dumps({"events": found.events, "lost": found.lost, "damage": found.damage}), file=out)
    return found


def restore(lines: Iterable[str], name: str, url: str, cut_off: bool = False) -> int:
    """Import an export into a new ledger, all of it or nothing; returns how many events it has.

    Args:
        name: Of the export, for errors.
        cut_off: Accept it although its end is missing.

    Raises:
        LedgerError: It is no export, or the ledger has events already.
    """
    from jetlane.remote.fleet.ledger import Ledger

    rows = list(_exported_events(lines, name, cut_off))
    ledger = Ledger(url)
    try:
        ledger.restore(rows)
    finally:
        ledger.close()
    return len(rows)


def _exported_events(lines: Iterable[str], name: str, cut_off: bool) -> Iterator[dict[str, Any]]:
    count, last, ended = 0, 0, False
    for number, line in enumerate(lines, start=1):
        found: Any = None
        with suppress(ValueError, RecursionError):
            found = json.loads(line)
        if number == 1 and (not isinstance(found, dict) or found.get("jetlane-ledger") != FORMAT):
            why = f'its first line is not {{"jetlane-ledger": {FORMAT}, ...}}'
            raise LedgerError(f"{name} is no export of a ledger", why, "make one: jetlane fleet ledger export")
        if number == 1:
            continue
        if isinstance(found, dict) and "events" in found and "number" not in found:
            ended = found["events"] == count
            break
        if not _is_event(found, last):
            if cut_off:
                break
            raise LedgerError(f"{name}: line {number} is no event, or not in order", "", "export the ledger again")
        count, last = count + 1, found["number"]
        yield found
    if not ended and not cut_off:
        raise LedgerError(
            f"{name} is cut off",
            f"it has no last line that counts its {count} events",
            "import the events that are there: --cut-off",
        )


def _is_event(found: Any, last: int) -> bool:
    if not isinstance(found, dict) or set(found) != set(COLUMNS):
        return False
    texts = isinstance(found["rollout"], str) and isinstance(found["kind"], str) and isinstance(found["data"], dict)
    names = all(found[key] is None or isinstance(found[key], str) for key in ("device", "runs"))
    numbers = isinstance(found["number"], int) and isinstance(found["at"], (int, float))
    return texts and names and numbers and last < found["number"] < 2**63
