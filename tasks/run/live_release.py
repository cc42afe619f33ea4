"""The note of which release a fleet runs; the gate holds the next model against that one."""

from __future__ import annotations

import json

from jetlane.specs.support.local_files import PRIVATE
from jetlane.tasks.run.digests import sealed
from jetlane.tasks.run.workspace import Workspace, write_atomic


def remember_live(workspace: Workspace, release: str) -> None:
    """Note that a release runs on every device it was meant for."""
    folder = workspace.folder("live")
    path = folder / f"{release.rsplit('-', 1)[0]}.json"
    write_atomic(path, json.dumps(sealed({"release": release}), indent=1), PRIVATE)
