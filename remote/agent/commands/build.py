"""See to it that a release has its engine: find it, attach to the build that makes it, or start one."""

import binascii
import os
import subprocess
import sys
import time
from typing import Any, Dict, List, Optional

from .. import backends, engines, hooks, recipes
from .. import manifest as manifests
from ..errors import AgentError
from ..event_output import HEARTBEAT, emit, heartbeat
from ..safe_files import make_folder, open_log, open_plain, read_object, remove, write_bytes, write_json
from ..store import Store
from .probe import probe

#: In the build's folder: commands after it that did not run yet. The name is that of 0.1, whose boards may have one.
PENDING = "owed.json"
#: A build that was cut off (power, kill) is begun again this often before it is called a failure.
ATTEMPTS = 2


def build(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Build a release's engine in a process that outlives this one, and wait for it.

    Returns:
        ``{"engine": key, "backend", "precision", "cached", "attached", "seconds", "size", "note"}``; ``note`` says what
        went wrong after the engine was finished, None where nothing did.

    Raises:
        AgentError: No backend fits, or the build failed; kinds ``backend``, ``memory``, ``disk``, ``build``,
            ``cancelled``, ``command``.
    """
    release = str(request.get("release"))
    manifest = store.manifest(release)
    options = recipes.options_of(request)
    facts = probe(store)
    backend = backends.choose_backend(facts, manifest, options)
    wanted = recipes.recipe(manifest, backend, facts, options)
    job: Dict[str, Any] = {
        "key": recipes.key_of(wanted),
        "release": release,
        "backend": backend,
        "options": options,
        "recipe": wanted,
    }
    attached, attempts, ours = False, 0, None
    while True:
        with store.build_lock() as lock:
            if lock is not None:
                _raise_build_error(store, ours)
                run_pending_cleanup(store)
                entry = engines.find_made(store, wanted)
                if entry is not None:
                    note = (_build_outcome(store, ours) or {}).get("note")
                    return _result(job, entry, cached=not attached and not attempts, attached=attached, note=note)
                if attempts == ATTEMPTS:
                    raise _interrupted_too_often(store)
                attempts += 1
                damage = engines.make_room(store, wanted)
                if damage is not None:
                    note = "the engine that was here cannot be used (%s): it is built again" % damage
                    emit("progress", step="build", note=note)
                ours = _start(store, dict(job, **hooks.around_build(store, release)), lock)
        running = store.building()
        if running is not None and running["engine"] != job["key"]:
            entry = engines.find_made(store, wanted)
            if entry is not None:  # another engine's build is not waited for
                return _result(job, entry, cached=not attached and not attempts, attached=attached)
        seen = _wait_for_build(store, job["key"])
        if seen is not None and seen != ours:
            ours, attached = seen, not attempts


def cancel(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """End the running build. Its commands for afterwards run; an engine that was finished in that moment stays.

    Returns:
        ``{"cancelled": bool, "release", "engine"}``; the last two are None where nothing was being built.
    """
    running = store.building()
    while running is not None and running["id"] is None:  # it is just beginning
        time.sleep(0.1)
        running = store.building()
    if running is None:
        with store.build_lock() as lock:
            if lock is not None:
                run_pending_cleanup(store)
        return {"cancelled": False, "release": None, "engine": None}
    write_bytes(store.path("build", "cancel"), running["id"].encode("ascii"))
    with heartbeat(lambda: {"step": "cancel"}):
        while (store.building() or {}).get("id") == running["id"]:
            time.sleep(0.1)
    error = (_build_outcome(store, running["id"]) or {}).get("error")
    cancelled = isinstance(error, dict) and error.get("kind") == "cancelled"
    return {"cancelled": cancelled, "release": running["release"], "engine": running["engine"]}


def run_pending_cleanup(store: Store) -> None:
    """Run the commands after a build that are still pending, because its supervisor was killed before it ran them.

    To be called with the build lock held.

    Raises:
        AgentError: One failed; it stays pending. Kind ``command``.
    """
    pending = read_object(store.path("build", PENDING))
    if not manifests.is_id(pending.get("release")):  # nothing, or what a bad sector left of it
        return
    after = hooks.commands_in(pending.get("after"), "build/" + PENDING)
    with heartbeat(lambda: {"step": "build", "note": "commands after the build"}):
        hooks.run_all(store, after, pending["release"], store.path("build", "log.txt"), "after the build")
    remove(store.path("build", PENDING))


def _result(
    job: Dict[str, Any], entry: Dict[str, Any], cached: bool, attached: bool, note: Any = None
) -> Dict[str, Any]:
    return {
        "engine": job["key"],
        "backend": job["backend"],
        "precision": job["options"]["precision"],
        "cached": cached,
        "attached": attached,
        "seconds": entry.get("seconds"),
        "size": entry.get("size"),
        "note": str(note) if note else None,
    }


def _start(store: Store, job: Dict[str, Any], lock: int) -> str:
    """Start the supervisor; returns the build's id.

    It inherits the held lock itself, so it is held without interruption.
    """
    if os.path.exists(store.path("build", "log.txt")):
        os.replace(store.path("build", "log.txt"), store.new_log("build"))
    remove(store.path("build"))
    make_folder(store.path("build"))
    identity = binascii.hexlify(os.urandom(8)).decode("ascii")
    write_json(store.path("build", "job.json"), dict(job, id=identity, lock=lock))
    with open_log(store.path("build", "log.txt")) as log:
        subprocess.Popen(
            own_command(store, "build-job"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
            env=own_environment(),
        )
    return identity


def own_command(store: Store, command: str) -> List[str]:
    """The argv that runs another command of this very agent."""
    if os.path.isfile(sys.argv[0]) and sys.argv[0].endswith(".pyz"):
        start = [sys.executable, os.path.abspath(sys.argv[0])]
    else:
        start = [sys.executable, "-m", __package__.rpartition(".")[0]]
    return start + ["--root", store.root, command]


def own_environment() -> Dict[str, str]:
    """The environment for own children: they find the agent's package where this process did."""
    environment = dict(os.environ)
    if not sys.argv[0].endswith(".pyz"):
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _wait_for_build(store: Store, key: str) -> Optional[str]:
    """Wait while a build runs, showing its heartbeat. Returns the id of the last one that was of ``key``."""
    seen = None
    beat = None  # type: Optional[float]
    while True:
        time.sleep(0.1)
        running = store.building()
        if running is None:
            return seen
        if running["engine"] == key:
            seen = running["id"]
        if beat is None or time.monotonic() - beat >= HEARTBEAT:
            beat = time.monotonic()
            note = running["note"] if running["engine"] == key else "waiting for the build of %s" % running["release"]
            emit("heartbeat", step="build", seconds=running["seconds"], note=note)


def _build_outcome(store: Store, identity: Optional[str]) -> Optional[Dict[str, Any]]:
    """How a build ended; None when another one came after it, or it was cut off before it could say."""
    outcome = read_object(store.path("build", "outcome.json"))
    return outcome if identity is not None and outcome.get("id") == identity else None


def _raise_build_error(store: Store, identity: Optional[str]) -> None:
    """Raise what a build ended with."""
    error = (_build_outcome(store, identity) or {}).get("error")
    if isinstance(error, dict):
        raise AgentError(*(str(error.get(part) or "") for part in ("what", "why", "remedy", "kind")))


def _interrupted_too_often(store: Store) -> AgentError:
    return AgentError(
        "the build was cut off %d times" % ATTEMPTS,
        "its processes ended without a word: something on the board kills them. The log ends:\n" + log_tail(store),
        "look at the board's system log (dmesg) for `Out of memory` or `Killed process`, and at its free disk space",
        "build",
    )


def log_tail(store: Store, size: int = 2000) -> str:
    """The end of the build's log."""
    try:
        with open_plain(store.path("build", "log.txt")) as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - size, 0))
            return file.read(size).decode("utf-8", "replace").strip()
    except OSError:
        return ""
