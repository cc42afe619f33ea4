"""Free the disk of what no kept release needs. The board's clock, which may be wrong, is asked nothing."""

import os
import shutil
import sys
from typing import Any, Dict, List, Optional, Set

from ..engines import read_entry
from ..errors import AgentError
from ..safe_files import read_object, remove, sync_folder
from ..store import Store


def collect(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Remove old releases and what belonged only to them: engines, reports, abandoned uploads, older agents;
    and the engines that were set aside.

    Args:
        request: ``{"keep": N, "spare": release}``: the N newest releases stay, by serial and then by their last
            verification; always those that are ``current`` and ``previous``, take part in a switch, or are being built.
            What has arrived of ``spare``, which is about to be built or to be sent on, stays too.

    Returns:
        ``{"releases": [removed], "engines": [removed], "bytes": freed}``.

    Raises:
        AgentError: ``keep`` is not a number of at least 1, or another command changes the board (kind ``busy``).
    """
    keep = request.get("keep")
    if isinstance(keep, bool) or not isinstance(keep, int) or keep < 1:
        raise AgentError("how many releases are to be kept?", "`keep` is %r" % (keep,), "give 1 or more")
    with store.lock():
        before = store.used_bytes()
        kept = _kept(store, keep, request.get("spare"))
        releases = [name for name in store.releases() if name not in kept]
        for name in releases:
            _remove(store, "releases", name)
        _remove_parts(store, "releases", str(request.get("spare")))
        engines = _remove_engines(store, kept)
        for name in os.listdir(store.path("aside")):
            remove(store.path("aside", name))
        _remove_reports(store)
        _forget(store)
        return {"releases": releases, "engines": engines, "bytes": max(before - store.used_bytes(), 0)}


def _kept(store: Store, keep: int, spare: Optional[str]) -> Set[str]:
    history = store.state()["history"]
    whole = []
    for name in store.releases():
        try:
            serial = store.manifest(name).get("serial")
        except AgentError:  # damaged: it is not among the newest, whatever its name
            continue
        whole.append((serial or 0, history.index(name) if name in history else -1, name))
    newest = [name for _, _, name in sorted(whole)[-keep:]]
    running = store.building() or {}
    needed = [*store.in_use(), running.get("release"), spare]
    return set(newest) | {name for name in needed if isinstance(name, str)}


def _remove_engines(store: Store, kept: Set[str]) -> List[str]:
    """Engines stay that a kept release was verified with, that its model has where nothing is known of a verification,
    and the one of the running or last build."""
    verified = store.state()["verified"]
    needed = {verified.get(release) for release in kept}
    needed.add(str(read_object(store.path("build", "job.json")).get("key")))
    open_models = set()  # type: Set[str]
    for release in kept:
        if release not in verified:
            open_models |= _models(store, release)
    removed = []
    with store.build_lock() as lock:
        for key in store.engines():
            model = read_entry(store, key).get("recipe", {}).get("model")
            if key not in needed and str(model) not in open_models:
                _remove(store, "engines", key)
                removed.append(key)
        if lock is not None:  # else a build may be writing into one, or be another agent's
            _remove_parts(store, "engines", "")
            _remove_agents(store)
    return removed


def _models(store: Store, release: str) -> Set[str]:
    try:
        manifest = store.manifest(release)
    except AgentError:
        return set()
    return {manifest["files"][path]["sha256"] for path in manifest["backends"].values()}


def _remove(store: Store, kind: str, name: str) -> None:
    """Take the name away first: what a power cut leaves of it is never taken for whole."""
    part = store.path(kind, name + ".part")
    remove(part)
    os.replace(store.path(kind, name), part)
    sync_folder(store.path(kind))
    shutil.rmtree(part, ignore_errors=True)


def _remove_parts(store: Store, kind: str, spare: str) -> None:
    for name in os.listdir(store.path(kind)):
        if name.endswith(".part") and name != spare + ".part":
            remove(store.path(kind, name))


def _remove_agents(store: Store) -> None:
    own = os.path.basename(sys.argv[0])
    for name in os.listdir(store.root):
        if name.startswith("agent-") and name.endswith((".pyz", ".part")) and name != own and own.startswith("agent-"):
            remove(store.path(name))


def _remove_reports(store: Store) -> None:
    there = set(store.releases())
    for name in os.listdir(store.path("reports")):
        if os.path.splitext(name)[0] not in there:
            remove(store.path("reports", name))


def _forget(store: Store) -> None:
    """Take what is gone out of the state."""
    state, there = store.state(), set(store.releases())
    verified = {release: key for release, key in state["verified"].items() if release in there}
    digests = {release: digest for release, digest in state["digests"].items() if release in there}
    history = [release for release in state["history"] if release in there]
    if verified != state["verified"] or digests != state["digests"] or history != state["history"]:
        store.write_state(dict(state, verified=verified, digests=digests, history=history))
