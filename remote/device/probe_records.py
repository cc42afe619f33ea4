"""What the last probe of each device found, kept in a file: selections by JetPack or TensorRT need no network then."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.specs.local_files import PRIVATE, in_words, locked, private_folder, read_json, write_atomic

#: Its name in a workspace.
NAME = "probes.json"


def recorded(path: Path) -> dict[str, Mapping[str, Any]]:
    """Facts by device; empty where nothing was recorded, or it cannot be read."""
    found = read_json(path)
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)} if isinstance(found, dict) else {}


def record(path: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was found of some devices, beside what is known of others. Any number may do so at once.

    Raises:
        WorkspaceError: It cannot be written; what was known before still is.
    """
    with in_words(path):
        if not path.parent.exists():
            private_folder(path.parent)
    with locked(path) as place:
        text = json.dumps({**recorded(place), **found}, indent=1, sort_keys=True) + "\n"
        write_atomic(place, text, PRIVATE)
