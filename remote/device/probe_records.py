"""Stores the facts of each device's last probe in a file, so that selecting by JetPack or TensorRT needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.specs.support.local_files import PRIVATE, in_words, locked, private_folder, read_json, write_atomic

#: The file's name in a workspace.
NAME = "probes.json"


def recorded(path: Path) -> dict[str, Mapping[str, Any]]:
    """Facts by device; empty where nothing was recorded or the file cannot be read."""
    found = read_json(path)
    return {name: facts for name, facts in found.items() if isinstance(facts, dict)} if isinstance(found, dict) else {}


def record(path: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Store the facts of some devices and keep those of others. Any number of processes may do so at once.

    Raises:
        WorkspaceError: It cannot be written; the file is unchanged.
    """
    with in_words(path):
        if not path.parent.exists():
            private_folder(path.parent)
    with locked(path) as place:
        text = json.dumps({**recorded(place), **found}, indent=1, sort_keys=True) + "\n"
        write_atomic(place, text, PRIVATE)
