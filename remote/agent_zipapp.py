"""The agent as one file: a zipapp that comes out the same, byte for byte, wherever and whenever it is built."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jetlane.specs import catalogue

_PACKAGE = "jetlane_agent"
_MAIN = f"import sys\n\nfrom {_PACKAGE}.cli import main\n\nsys.exit(main(sys.argv[1:]))\n"
#: The oldest time a zip can hold: what changes nothing must not change the digest.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class AgentFile:
    """The zipapp: its bytes and their hex sha256."""

    content: bytes
    digest: str

    @property
    def name(self) -> str:
        """What it is called on a board; another agent has another name, so a running one is never overwritten."""
        return f"agent-{self.digest[:12]}.pyz"


@lru_cache(maxsize=1)
def agent_file() -> AgentFile:
    """Build the agent from the sources beside this module."""
    sources = Path(__file__).parent / "agent"
    # stored, not compressed: what zlib makes differs from version to version, and there is little to gain
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for path in sorted(sources.glob("*")):
            if path.suffix in (".py", ".json"):
                _add(archive, f"{_PACKAGE}/{path.name}", path.read_bytes())
        _add(archive, f"{_PACKAGE}/{catalogue.FILE.name}", _catalogue())
    content = b"#!/usr/bin/env python3\n" + buffer.getvalue()
    return AgentFile(content, hashlib.sha256(content).hexdigest())


def _catalogue() -> bytes:
    """What the agent reads of the error catalogue."""
    entries = json.loads(catalogue.FILE.read_bytes())["entries"]
    kept = [{key: entry[key] for key in ("patterns", "cause", "remedy")} for entry in entries if _on_board(entry)]
    return json.dumps({"entries": kept}, sort_keys=True).encode()


def _on_board(entry: dict[str, Any]) -> bool:
    return entry["stage"] in ("parse", "build", "load")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3
    entry.compress_type = zipfile.ZIP_STORED
    archive.writestr(entry, content)
