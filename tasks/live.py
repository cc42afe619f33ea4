"""The note of which release a fleet runs; the gate holds the next model against that one."""

from __future__ import annotations

import json

from jetlane.tasks.workspace import Workspace, write_atomic


def remember_live(workspace: Workspace, release: str) -> None:
    """Note that a release runs on every device it was meant for."""
    folder = workspace.folder("live")
    write_atomic(folder / f"{release.rsplit('-', 1)[0]}.json", json.dumps({"release": release}, indent=1))
