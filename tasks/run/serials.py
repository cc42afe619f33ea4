"""Serials of releases: numbers that only rise per project, so that a board can tell an old release from a new one.

A serial is the time at which it was given (UTC, in seconds), or one more than the highest before, if that is more: a
workspace that was lost, or a second one, goes on above the first without knowing it. It belongs to what the release
holds: the same content gets the same serial again, and so the same id.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from jetlane.specs.support.local_files import PRIVATE, read_json
from jetlane.tasks.run.digests import sealed, unsealed
from jetlane.tasks.run.workspace import Workspace, write_atomic

#: Contents whose serials are remembered.
_KEPT = 1000


class Serials:
    """The serials of one project, kept in ``<workspace>/serials/<project>.json``."""

    def __init__(self, workspace: Workspace, project: str) -> None:
        self._workspace = workspace
        self._project = project

    @property
    def path(self) -> Path:
        return self._workspace.root / "serials" / f"{self._project}.json"

    @property
    def renewals(self) -> int:
        """How often ``renew`` was asked for; releases made before the last time are not used again."""
        return int(self._read()["renewals"])

    def of(self, content: str) -> int:
        """The serial of a content, given by its digest: the one it has, or the next."""
        with self._workspace.lock(f"serials-{self._project}"):
            known = self._read()
            if content not in known["given"]:
                known["highest"] = max(known["highest"] + 1, int(time.time()))
                known["given"][content] = known["highest"]
                self._write(known)
            return int(known["given"][content])

    def renew(self, above: int = 0) -> None:
        """Give whatever is released next a new serial, higher than any before and than ``above``."""
        with self._workspace.lock(f"serials-{self._project}"):
            known = self._read()
            known["given"] = {}
            known["renewals"] += 1
            known["highest"] = max(known["highest"], above)
            self._write(known)

    def _read(self) -> dict[str, Any]:
        """What was given so far; of a damaged file nothing is believed: the clock is above all that it gave."""
        opened = unsealed(read_json(self.path))
        try:
            known = opened[0] if opened is not None else {}
            given = {str(content): int(serial) for content, serial in known["given"].items()}
            return {"highest": int(known["highest"]), "renewals": int(known["renewals"]), "given": given}
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
            return {"highest": 0, "renewals": 0, "given": {}}

    def _write(self, known: dict[str, Any]) -> None:
        known["given"] = dict(sorted(known["given"].items(), key=lambda item: item[1])[-_KEPT:])
        self._workspace.folder("serials")
        write_atomic(self.path, json.dumps(sealed(known), indent=1), PRIVATE)
