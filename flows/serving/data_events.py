"""Tells servers that a data set has grown: those that run now, or the one that `jetlane up` starts next."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.flows.serving.events import DATA_ADDED, Subject, send
from jetlane.flows.serving.up_state import UP, UpState, local_server
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.tasks.data.added_batches import added_folder

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

_log = logging.getLogger(__name__)
#: In the folder of what was added: what no server was told yet.
_UNTOLD = ".untold.json"


def tell_added(spec: RunSpec, images: int, sources: Sequence[str]) -> str:
    """Emit ``jetlane.data.added`` on every server that may have a schedule of the spec.

    Args:
        images: How many were added.
        sources: Where they came from.

    Returns:
        Who was told, for a person. Where no server runs, the next ``jetlane up`` with a schedule of the spec is told.
    """
    payload = {"images": images, "from": list(sources)}
    told, failed = [], []
    for url, login in _servers(spec):
        try:
            send(url, login, DATA_ADDED, Subject("project", spec.name), payload)
            told.append(url.removesuffix("/api"))
        except OSError as error:
            failed.append(f"{url.removesuffix('/api')} was not told: {error}")
    if told:
        return "; ".join([f"told the Prefect server at {', '.join(told)}", *failed])
    write_atomic(_note(spec), json.dumps(payload), PRIVATE)
    return "; ".join([*failed, "no server runs: `jetlane up` tells its schedules, and `jetlane run` takes it in"])


def tell_untold(url: str, login: str, spec: Path) -> None:
    """Emit what was added while no server ran; a spec that cannot be read has nothing to tell.

    Args:
        spec: Of a schedule on new data.
    """
    from jetlane.specs.load import load_spec

    try:
        loaded = load_spec(spec)
        payload = read_json(_note(loaded))
        if isinstance(payload, dict):
            send(url, login, DATA_ADDED, Subject("project", loaded.name), payload)
            _note(loaded).unlink(missing_ok=True)
    except (JetlaneError, OSError) as error:
        _log.warning("whether data was added to %s is not told: %s", spec, error)


def _note(spec: RunSpec) -> Path:
    return added_folder(Path(spec.workspace.path), spec.name) / _UNTOLD


def _servers(spec: RunSpec) -> Iterator[tuple[str, Optional[str]]]:
    """Address and login of the servers of this folder, of the spec's and its workspace, and of the environment."""
    found: dict[str, Optional[str]] = {}
    for folder in (UP, Path(spec.base_dir or "") / UP, Path(spec.workspace.path) / UP.name):
        server = UpState(folder).server()
        if server is not None:
            found.setdefault(*server)
    given = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if given:
        known: dict[str, Any] = local_server(given)
        found.setdefault(given, known.get("PREFECT_API_AUTH_STRING") or os.environ.get("PREFECT_API_AUTH_STRING"))
    yield from found.items()
