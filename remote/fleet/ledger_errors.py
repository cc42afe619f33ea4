"""Errors of a ledger, made from the errors of its drivers: damaged, disk full, locked, not a ledger, unreachable."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Optional

from jetlane.remote.fleet.scrubbing import environment, scrub_text
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.text import harmless

#: The first bytes of an SQLite file.
_MAGIC = b"SQLite format 3\0"
#: Bytes up to which a ledger is checked when it is opened, which takes a second per 300 MB.
_CHECKED_WHOLE = 100_000_000
#: Bytes of free disk below which an I/O error is reported as a full disk.
_FULL = 1_000_000

_SAVE = (
    "see what can be read: jetlane fleet ledger check {path};"
    " save it: jetlane fleet ledger export {path} -o events.jsonl;"
    " then move the file (and its -wal and -shm) away, and: jetlane fleet ledger import events.jsonl {path}"
)
_AGAIN = "; then run the same command again: it continues from what was written"


class LedgerError(JetlaneError):
    """The ledger cannot be read or written. Events written before are kept, and devices keep what they run."""


def from_driver(error: BaseException, shown: str, path: Optional[Path] = None) -> LedgerError:
    """Make a ``LedgerError`` of a driver's error.

    Args:
        shown: The ledger's URL without secrets.
        path: The SQLite file; None for PostgreSQL, and for a ledger in memory.
    """
    message = _driver_message(error)
    if path is not None:
        return _of_sqlite(message, path)
    if "does not exist" in message and "relation" in message:
        return not_a_ledger(shown, message)
    verb = "opened" if "connection failed" in message or "connection timeout" in message else "used"
    remedy = "check that its server runs, and can be reached and written from here"
    return LedgerError(f"the ledger {shown} cannot be {verb}", message, remedy + _AGAIN)


def _driver_message(error: BaseException) -> str:
    """The driver's message, shortened and without secrets."""
    text = str(getattr(error, "orig", None) or error).strip()
    return harmless(scrub_text(text[:2000], environment()), lines=True)


def _of_sqlite(message: str, path: Path) -> LedgerError:
    low = message.lower()
    if "malformed" in low or "not a database" in low or "encrypted" in low:
        return damaged(path, message)
    if "full" in low or "no space" in low or ("i/o error" in low and _free(path) < _FULL):
        room = f"{_free(path) // 1000} kB are free there"
        return LedgerError(
            f"the ledger {path} cannot be written: the disk is full", room, "free some space there" + _AGAIN
        )
    if "locked" in low or "busy" in low:
        why = "another process has been writing to it for too long"
        return LedgerError(
            f"the ledger {path} is locked", why, "find out which program has it open, such as a backup" + _AGAIN
        )
    if "no such table" in low or "no such column" in low or "already exists" in low or "no column named" in low:
        return not_a_ledger(str(path), message)
    if "readonly" in low or "read-only" in low:
        remedy = "check that the file, its -wal and -shm, and their folder are writable"
        return LedgerError(f"the ledger {path} may not be written", message, remedy + _AGAIN)
    return LedgerError(
        f"the ledger {path} cannot be opened" if "unable to open" in low else f"the ledger {path} cannot be used",
        message,
        "check that the file, its -wal and -shm, and their folder exist and are readable and writable" + _AGAIN,
    )


def _free(path: Path) -> int:
    try:
        return shutil.disk_usage(path.parent).free
    except OSError:
        return 0


def damaged(path: Path, why: str) -> LedgerError:
    """The error for a file that should be a ledger and is not intact."""
    return LedgerError(f"the ledger {path} is damaged", why, _SAVE.format(path=path))


def not_a_ledger(shown: str, why: str) -> LedgerError:
    """The error for a database of another program."""
    return LedgerError(f"{shown} is not a ledger of jetlane", why, "name another file or database as the ledger")


def refuse_damaged(path: Path) -> None:
    """Check an SQLite ledger before it is opened for writing: nothing must be added to a damaged file.

    Of a file larger than 100 MB only the first bytes are checked.

    Raises:
        LedgerError: It is no file, not readable, or not intact.
    """
    try:
        if not path.is_file():
            raise LedgerError(f"the ledger {path} is no file", "something else has its name", "name another")
        with open(path, "rb") as file:
            start = file.read(len(_MAGIC))
        size = path.stat().st_size
    except OSError as error:
        raise _of_sqlite(f"unable to open database file: {error.strerror}", path) from None
    if start != _MAGIC:
        why = "it is empty" if not size else "it does not begin like a database"
        raise damaged(path, f"{why}: it was cut off or overwritten, or is another file")
    if size > _CHECKED_WHOLE:
        return
    try:
        with closing(sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=5)) as book:
            found = [str(row[0]) for row in book.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error as error:
        if "unable to open" in str(error) and not os.access(path.parent, os.W_OK):
            return  # read-only: whether it can be read like that shows when it is read
        raise from_driver(error, str(path), path) from None
    if found != ["ok"]:
        raise damaged(path, harmless("; ".join(found)))


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(str(path.absolute()))
