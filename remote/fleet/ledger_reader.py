"""Reads the events of a ledger without changing it, however damaged it is: by SQL, or else page by page."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from jetlane.remote.fleet import database, ledger_errors, sqlite_pages
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.specs.support.text import TEXT, harmless

#: Of the table of events, and the keys of an exported event.
COLUMNS = ("number", "at", "rollout", "kind", "device", "runs", "data")


class RawEvent(NamedTuple):
    """A row of the events as stored; ``data`` is JSON text, or what PostgreSQL's driver parsed it into."""

    number: int
    at: Any
    rollout: Any
    kind: Any
    device: Any
    runs: Any
    data: Any


@dataclass
class LedgerReader:
    """A ledger that is open for reading.

    Attributes:
        damage: What SQLite finds wrong with the file; empty when it is intact.
        rows: Every event that can be read, in order.
        last: The highest number ever assigned, as far as that is known.
        dense: Whether numbers are consecutive, so that a missing one is a lost event (PostgreSQL leaves gaps).
    """

    damage: list[str]
    rows: Iterable[RawEvent]
    last: int = 0
    dense: bool = True


@contextmanager
def open_reader(url: str) -> Iterator[LedgerReader]:
    """Open a ledger for reading only.

    Raises:
        LedgerError: There is none, or it is another program's.
    """
    path = database.file_of(url)
    if path is None:
        engine = database.open_engine(url)
        try:
            with engine.begin() as connection:
                names = ", ".join(COLUMNS)
                found = connection.exec_driver_sql(f"SELECT {names} FROM events ORDER BY number")
                yield LedgerReader([], (RawEvent(*row) for row in found), dense=False)
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
    with _readable_copy(path) as place:
        yield from _read_file(place, path)


def _read_file(place: Path, path: Path) -> Iterator[LedgerReader]:
    """Read by SQL while SQLite finds nothing wrong with the file, else page by page."""
    damage = _damage(place)
    if damage:
        found = (row for row in sqlite_pages.rows(place, len(COLUMNS)) if _is_event(row))
        rows = {row.key: RawEvent(row.key, *row.values[1:]) for row in found}
        assigned = [row.values[1] for row in sqlite_pages.rows(place, 2) if row.values[0] == "events"]
        last = max((number for number in assigned if isinstance(number, int)), default=0)
        yield LedgerReader(damage, [rows[number] for number in sorted(rows)], min(last, 2**53))
        return
    with closing(_connect(place)) as connection:
        try:
            names = ", ".join(COLUMNS)
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
            events = connection.execute(f"SELECT {names} FROM events ORDER BY number")
        except sqlite3.OperationalError as error:
            raise ledger_errors.from_driver(error, str(path), path) from None
        yield LedgerReader([], (RawEvent(*row) for row in events), last)


@contextmanager
def _readable_copy(path: Path) -> Iterator[Path]:
    """The file itself, or a copy where SQLite cannot create files beside it: on a full or a read-only disk."""
    try:
        with closing(_connect(path)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("", "-wal"):
                beside = path.with_name(path.name + suffix)
                if beside.is_file():
                    shutil.copyfile(beside, Path(folder) / f"ledger{suffix}")
            yield Path(folder) / "ledger"
        return
    except sqlite3.DatabaseError:
        pass  # damaged: the reader reports that
    yield path


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _damage(path: Path) -> list[str]:
    """What SQLite finds wrong with a file."""
    if path.stat().st_size == 0:
        return ["it is empty"]
    try:
        with closing(_connect(path)) as connection:
            found = [harmless(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        return [harmless(error)]
    return [] if found == ["ok"] else found


def _is_event(row: sqlite_pages.Row) -> bool:
    """Whether a row of seven columns is an event."""
    none, at, rollout, kind, device, runs, data = row.values
    texts = all(isinstance(value, str) for value in (rollout, kind, data))
    names = all(value is None or isinstance(value, str) for value in (device, runs))
    return none is None and isinstance(at, (int, float)) and texts and names and row.key > 0


def parsed_data(data: Any) -> dict[str, Any]:
    """The data of a raw event as a JSON object; text that is none is returned under ``unreadable``."""
    if isinstance(data, dict):
        return data
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else str(data)
    with suppress(ValueError, RecursionError):
        parsed = json.loads(text)
        if isinstance(parsed, dict):
            return parsed
    return {"unreadable": harmless(text, TEXT)}


class MissingNumbers:
    """Finds the gaps in a rising sequence of numbers that should be consecutive from 1."""

    def __init__(self) -> None:
        self._next = 1
        self._gaps: list[tuple[int, int]] = []

    def add(self, number: int) -> None:
        if number > self._next:
            self._gaps.append((self._next, number - 1))
        self._next = max(self._next, number + 1)

    def until(self, last: int) -> list[tuple[int, int]]:
        """The (first, last) numbers of each gap up to ``last``."""
        self.add(last + 1)
        return self._gaps
