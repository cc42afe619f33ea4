"""The note of which release a fleet runs, and which it ran before; the gate holds the next model against the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Optional

from jetlane.specs.names import project_of
from jetlane.specs.support.local_files import PRIVATE, read_json
from jetlane.tasks.run.digests import sealed, unsealed
from jetlane.tasks.run.workspace import Workspace, write_atomic


def remember_live(workspace: Workspace, release: str) -> None:
    """Note that a release runs on every device it was meant for."""
    folder = workspace.folder("live")
    path = folder / f"{project_of(release)}.json"
    known = _read(path)
    before = known.get("release", "")
    note = {"release": release, "previous": known.get("previous", "") if before == release else before}
    write_atomic(path, json.dumps(sealed(note), indent=1), PRIVATE)


def live_release(root: Path, name: str) -> Optional[str]:
    """The release that a spec's fleet runs, as far as this workspace knows; None before the first."""
    return _read(root / "live" / f"{name}.json").get("release")


def live_and_previous(root: Path) -> set[str]:
    """Releases that are live from a workspace under any name, and those that were before: a rollback's goal.

    Args:
        root: The workspace's folder.
    """
    return set().union(*noted(root))


def noted(root: Path) -> tuple[set[str], set[str]]:
    """The releases that are live under any name; and those that were before."""
    notes = [_read(path) for path in (root / "live").glob("*.json")]
    live, before = ({str(note[key]) for note in notes if note.get(key)} for key in ("release", "previous"))
    return live, before


def _read(path: Path) -> dict[str, str]:
    opened = unsealed(read_json(path))
    return opened[0] if opened is not None else {}
