"""The backend for a release on a board: what the board chooses, unless its TensorRT misreads the release's UFF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from jetlane.remote.agent import backends
from jetlane.remote.agent.errors import AgentError


def choose_backend(facts: dict[str, Any], manifest: dict[str, Any], options: dict[str, Any]) -> str:
    """As ``jetlane.remote.agent.backends.choose_backend``.

    Raises:
        AgentError: None fits; or it is the UFF parser, and that version of it is known to refuse or misread an
            operation of this release (``uff_not_on`` of the manifest); kind ``backend``.
    """
    backend = backends.choose_backend(facts, manifest, options)
    version = str((facts.get("tensorrt") or {}).get("version", ""))
    found = _misread(manifest, version) if backend == "uff" else None
    if found is not None:
        raise AgentError(
            f"the UFF parser of TensorRT {version} does not read this release as it is meant",
            f"NVIDIA's parser was run on {', '.join(found['patterns'])}: from {found['from']} on, below "
            f"{found['below']}, it refuses that or makes something else of it",
            "use a board with another JetPack, or a model without these operations",
            "backend",
        )
    return backend


def _misread(manifest: Mapping[str, Any], version: str) -> Optional[Mapping[str, Any]]:
    """The range of versions that a board's is in, of those that the release is not for."""
    for rule in manifest.get("uff_not_on", []):
        if _numbers(rule["from"]) <= _numbers(version) < _numbers(rule["below"]):
            return dict(rule)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    """(7, 1) of 7.1.3.4."""
    parts = [part for part in version.split(".")[:2] if part.isdigit()]
    return tuple(int(part) for part in parts)
