"""What the last probe of each device found, kept in a file: selections by JetPack or TensorRT need no network then."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: Its name in a workspace.
NAME = "probes.json"


def recorded(path: Path) -> dict[str, Mapping[str, Any]]:
    """Facts by device; empty where nothing was recorded, or it cannot be read."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def record(path: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what was found of some devices, beside what is known of others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps({**recorded(path), **found}, indent=1, sort_keys=True) + "\n")
    os.replace(temporary, path)
