"""What is on this board."""

import os
from typing import Any, Dict, Optional

from . import engines
from . import manifest as manifests
from .errors import AgentError
from .files import read_json
from .store import Store, open_lock, try_lock


def status(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Current and previous release, what each release lacks, what was verified, and whether a build runs."""
    current = store.pointed("current")
    releases = {release: _problem(store, release, release == current) for release in store.releases()}
    return {
        "current": current,
        "previous": store.pointed("previous"),
        "releases": releases,
        "signed": {release: store.signed_by(release) for release in releases},
        "verified": store.state()["verified"],
        "engines": [key for key in store.engines() if engines.find(store, key) is not None],
        "report": store.report(current) if current else None,
        "building": _building(store),
    }


def _problem(store: Store, release: str, hashed: bool) -> Optional[str]:
    """What is wrong with a release's files; None when nothing is."""
    try:
        problems = manifests.check_files(store.path("releases", release), store.manifest(release), hashed)
    except AgentError as error:
        return error.what
    return ", ".join("%s %s" % item for item in sorted(problems.items())) or None


def _building(store: Store) -> Optional[Dict[str, Any]]:
    lock = open_lock(store.path("build.lock"))
    try:
        if try_lock(lock):
            return None
    finally:
        os.close(lock)
    job = read_json(store.path("build", "job.json")) or {}
    beat = read_json(store.path("build", "heartbeat.json")) or {}
    return {
        "release": job.get("release"),
        "engine": job.get("key"),
        "seconds": beat.get("seconds"),
        "note": beat.get("note"),
    }
