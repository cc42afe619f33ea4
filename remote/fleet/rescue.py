"""What of a ledger can be read, however damaged it is: checked, exported, made into a new one.

An export is JSON lines in ASCII. The first says what it is (``{"jetlane-ledger": 1, ...}``), each of the others is one
event (``number``, ``at``, ``rollout``, ``kind``, ``device``, ``runs``, ``data``; see ``state.Event``) in the order of
their numbers, and the last counts them and names the numbers that are lost (``{"events": 120, "lost": [[17, 23]]}``).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from jetlane.remote.fleet import database, faults, pages
from jetlane.remote.fleet.faults import LedgerError
from jetlane.remote.fleet.state import RolloutState
from jetlane.remote.fleet.words import event_of
from jetlane.specs import secrets
from jetlane.specs.text import TEXT, harmless

#: Of the export's form.
FORMAT = 1
_COLUMNS = ("number", "at", "rollout", "kind", "device", "runs", "data")


class Raw(NamedTuple):
    """A row of the events as it stands there; ``data`` is JSON text, or what PostgreSQL's driver made of it."""

    number: int
    at: Any
    rollout: Any
    kind: Any
    device: Any
    runs: Any
    data: Any


@dataclass
class Reading:
    """A ledger that is being read.

    Attributes:
        damage: What SQLite says is wrong with the file; empty when it is whole.
        rows: Every event that can be read, in their order.
        last: The highest number ever given, as far as that is known.
        dense: Whether numbers follow one another, so that one that is missing is lost (PostgreSQL leaves gaps).
    """

    damage: list[str]
    rows: Iterable[Raw]
    last: int = 0
    dense: bool = True


@dataclass
class Found:
    """What a check found.

    Attributes:
        damage: As of ``Reading``.
        events: How many can be read.
        lost: (first, last) numbers of those that cannot.
        rollouts: Their states, by id, the oldest first.
        counts: Events of each that can be read.
        doubts: What is odd about a rollout although its rows can be read.
    """

    damage: list[str] = field(default_factory=list)
    events: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    rollouts: dict[str, RolloutState] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return not (self.damage or self.lost or self.doubts)


def check(url: str) -> Found:
    """Whether a ledger is whole, and what of it can be read. Nothing is changed.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    with reading(url) as read:
        found, gaps = Found(read.damage), _Gaps()
        for row in read.rows:
            event = event_of(*row)
            state = found.rollouts.setdefault(event.rollout, RolloutState(event.rollout))
            state.apply(event)
            if found.counts.setdefault(event.rollout, 0) == 0 and event.kind != "started":
                found.doubts[event.rollout] = "its beginning is missing"
            if "unreadable" in event.data:
                state.unclear.append(event.number)
            found.counts[event.rollout] += 1
            found.events += 1
            gaps.take(event.number)
        found.lost = gaps.until(read.last) if read.dense else []
    for name, state in found.rollouts.items():
        if state.unclear:
            count = len(set(state.unclear))
            found.doubts[name] = f"{count} events cannot be understood, from number {state.unclear[0]}"
    return found


def export(url: str, out: TextIO) -> Found:
    """Write every event that can be read as JSON lines. Nothing is changed in the ledger.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    with reading(url) as read:
        found, gaps = Found(read.damage), _Gaps()
        print(json.dumps({"jetlane-ledger": FORMAT, "from": secrets.shown(url)}), file=out)
        for row in read.rows:
            print(json.dumps(dict(zip(_COLUMNS, row[:-1]), data=_data(row.data)), default=str), file=out)
            found.events += 1
            gaps.take(row.number)
        found.lost = gaps.until(read.last) if read.dense else []
        print(json.dumps({"events": found.events, "lost": found.lost, "damage": found.damage}), file=out)
    return found


def restore(lines: Iterable[str], name: str, url: str, cut_off: bool = False) -> int:
    """Make an export into a new ledger, all of it or nothing; returns how many events it has.

    Args:
        name: Of the export, for errors.
        cut_off: Take it although its end is missing.

    Raises:
        LedgerError: It is no export, or the ledger has events already.
    """
    from jetlane.remote.fleet.ledger import Ledger

    rows = list(_exported(lines, name, cut_off))
    ledger = Ledger(url)
    try:
        ledger.restore(rows)
    finally:
        ledger.close()
    return len(rows)


def _exported(lines: Iterable[str], name: str, cut_off: bool) -> Iterator[dict[str, Any]]:
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
            raise LedgerError(f"{name}: line {number} is no event, or not in its order", "", "export it anew")
        count, last = count + 1, found["number"]
        yield found
    if not ended and not cut_off:
        raise LedgerError(
            f"{name} is cut off", f"its last line does not count its {count} events", "take what is there: --cut-off"
        )


def _is_event(found: Any, last: int) -> bool:
    if not isinstance(found, dict) or set(found) != set(_COLUMNS):
        return False
    texts = isinstance(found["rollout"], str) and isinstance(found["kind"], str) and isinstance(found["data"], dict)
    names = all(found[key] is None or isinstance(found[key], str) for key in ("device", "runs"))
    numbers = isinstance(found["number"], int) and isinstance(found["at"], (int, float))
    return texts and names and numbers and last < found["number"] < 2**63


@contextmanager
def reading(url: str) -> Iterator[Reading]:
    """A ledger, opened to be read alone.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    path = database.file_of(url)
    if path is None:
        engine = database.open_engine(url)
        try:
            with engine.begin() as connection:
                names = ", ".join(_COLUMNS)
                found = connection.exec_driver_sql(f"SELECT {names} FROM events ORDER BY number")
                yield Reading([], (Raw(*row) for row in found), dense=False)
        finally:
            engine.dispose()
        return
    try:
        if not path.is_file():
            raise LedgerError(f"the ledger {path} is no file", "something else has its name", "name the ledger's file")
        with path.open("rb"):
            pass
    except OSError as error:
        why = error.strerror or str(error)
        raise LedgerError(f"the ledger {path} cannot be read", why, "name the ledger's file, or its URL") from None
    with _openable(path) as place:
        yield from _of_file(place, path)


def _of_file(place: Path, path: Path) -> Iterator[Reading]:
    """One reading: by SQLite's own hands while it finds nothing wrong, else page by page."""
    damage = _damage(place)
    if damage:
        rows = {row.key: Raw(row.key, *row.values[1:]) for row in pages.rows(place, len(_COLUMNS)) if _looks_right(row)}
        given = [row.values[1] for row in pages.rows(place, 2) if row.values[0] == "events"]
        last = max((number for number in given if isinstance(number, int)), default=0)
        yield Reading(damage, [rows[number] for number in sorted(rows)], min(last, 2**53))
        return
    with closing(_connect(place)) as book:
        try:
            names = ", ".join(_COLUMNS)
            (last,) = book.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
            rows_there = book.execute(f"SELECT {names} FROM events ORDER BY number")
        except sqlite3.OperationalError as error:
            raise faults.told(error, str(path), path) from None
        yield Reading([], (Raw(*row) for row in rows_there), last)


@contextmanager
def _openable(path: Path) -> Iterator[Path]:
    """The file, or a copy of it where SQLite can make nothing beside it: on a full disk, on one that is read-only."""
    try:
        with closing(_connect(path)) as book:
            book.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("", "-wal"):
                beside = path.with_name(path.name + suffix)
                if beside.is_file():
                    shutil.copyfile(beside, Path(folder) / f"ledger{suffix}")
            yield Path(folder) / "ledger"
        return
    except sqlite3.DatabaseError:
        pass  # damaged: that is told by whoever reads it
    yield path


def _connect(path: Path) -> sqlite3.Connection:
    book = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    book.text_factory = lambda text: text.decode("utf-8", "replace")
    return book


def _damage(path: Path) -> list[str]:
    """What SQLite finds wrong with a file."""
    if path.stat().st_size == 0:
        return ["it is empty"]
    try:
        with closing(_connect(path)) as book:
            found = [harmless(row[0]) for row in book.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        return [harmless(error)]
    return [] if found == ["ok"] else found


def _looks_right(row: pages.Row) -> bool:
    """Whether a row of seven columns is one of the events."""
    none, at, rollout, kind, device, runs, data = row.values
    texts = all(isinstance(value, str) for value in (rollout, kind, data))
    names = all(value is None or isinstance(value, str) for value in (device, runs))
    return none is None and isinstance(at, (int, float)) and texts and names and row.key > 0


def _data(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
    with suppress(ValueError, RecursionError):
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            return parsed
    return {"unreadable": harmless(text, TEXT)}


class _Gaps:
    """Numbers that did not come, of those that rise one by one."""

    def __init__(self) -> None:
        self._next = 1
        self._found: list[tuple[int, int]] = []

    def take(self, number: int) -> None:
        if number > self._next:
            self._found.append((self._next, number - 1))
        self._next = max(self._next, number + 1)

    def until(self, last: int) -> list[tuple[int, int]]:
        self.take(last + 1)
        return self._found
