"""Which releases rollouts still need, by the ledgers that a workspace's rollouts are recorded in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import WorkspaceError
from jetlane.specs.support.local_files import PRIVATE, locked, read_json, write_atomic

#: Ledgers elsewhere that a workspace remembers.
_MOST = 100
_NOTE = "ledgers.json"


def note_ledger(root: Path, url: str) -> None:
    """Remember that rollouts of this workspace are recorded in a ledger elsewhere; its password is left out."""
    from jetlane.specs.support import secrets

    shown = secrets.shown(url)
    if url == _own(root) or shown in _noted(root):
        return
    with locked(root / _NOTE) as path:
        write_atomic(path, json.dumps([*_noted(root), shown][-_MOST:], indent=1), PRIVATE)


def releases_of_rollouts(root: Path, given: Optional[str] = None) -> set[str]:
    """Releases of rollouts that have not ended, and all that a device runs, or would roll back to, as far as is known.

    Args:
        root: The workspace's folder.
        given: The spec's ``fleet.ledger``, or another file or URL.

    Raises:
        WorkspaceError: Rollouts are recorded in a ledger that is not at hand.
        LedgerError: One cannot be read.
    """
    from jetlane.remote.fleet import database
    from jetlane.specs.support import secrets

    ledgers = dict.fromkeys((database.location(root, given), _own(root)))
    opened = {secrets.shown(url) for url in ledgers}
    for noted in _noted(root):
        if noted in opened:
            continue
        if database.file_of(noted) is None:
            raise WorkspaceError(
                f"which releases of {root} are needed is not known",
                f"rollouts of it are recorded in {noted}, which was not named",
                f"name it: --spec, --ledger, or {database.VARIABLE} in the environment",
            )
        ledgers[noted] = None
    return {release for url in ledgers for release in _of_ledger(url)}


def _of_ledger(url: str) -> set[str]:
    from jetlane.remote.fleet import database
    from jetlane.remote.fleet.ledger import Ledger

    file = database.file_of(url)
    if file is not None and not file.exists():
        return set()
    ledger = Ledger(url)
    try:
        found = {event.runs for event in ledger.latest()}
        for state in ledger.unfinished():
            found |= {state.release, *(device.previous for device in state.devices.values())}
        return {release for release in found if release}
    finally:
        ledger.close()


def _own(root: Path) -> str:
    from jetlane.remote.fleet import database

    return database.named(str(Path(root) / "fleet.db"))


def _noted(root: Path) -> list[str]:
    known = read_json(root / _NOTE)
    return [str(url) for url in known] if isinstance(known, list) else []
