"""See to it that a release has its engine: find it, attach to the build that makes it, or start one."""

import os
import shutil
import subprocess
import sys
import time
from typing import Any, Dict, Optional

from . import engines, roads
from .errors import AgentError
from .events import HEARTBEAT, emit
from .files import read_json, write_json
from .probe import probe
from .store import Store, open_lock, try_lock

#: A build that was cut off (power, kill) is begun again this often before it is called a failure.
ATTEMPTS = 2


def build(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Build a release's engine in a process that outlives this one, and wait for it.

    Returns:
        ``{"engine": key, "road", "cached", "attached", "seconds", "size"}``.

    Raises:
        AgentError: No road fits, or the build failed; kinds ``road``, ``memory``, ``disk``, ``build``.
    """
    release = str(request.get("release"))
    manifest = store.manifest(release)
    options = engines.options_of(request)
    facts = probe(store)
    road = roads.choose(facts, manifest, options)
    wanted = engines.recipe(manifest, road, facts, options)
    job: Dict[str, Any] = {
        "key": engines.key_of(wanted),
        "release": release,
        "road": road,
        "options": options,
        "recipe": wanted,
    }
    attached, attempts = False, 0
    while True:
        entry = engines.find(store, job["key"])
        if entry is not None:
            return _result(job, entry, cached=not attached and not attempts, attached=attached)
        lock = open_lock(store.path("build.lock"))
        try:
            if try_lock(lock):
                outcome = _outcome(store, job["key"]) if attempts or attached else None
                if outcome is not None and outcome.get("error"):
                    raise AgentError(**outcome["error"])
                if attempts == ATTEMPTS:
                    raise _gave_up(store)
                attempts += 1
                _start(store, job, lock)
        finally:
            os.close(lock)
        seen = _follow(store, job["key"])
        attached = attached or (seen and not attempts)


def _result(job: Dict[str, Any], entry: Dict[str, Any], cached: bool, attached: bool) -> Dict[str, Any]:
    return {
        "engine": job["key"],
        "road": job["road"],
        "precision": job["options"]["precision"],
        "cached": cached,
        "attached": attached,
        "seconds": entry.get("seconds"),
        "size": entry.get("size"),
    }


def _start(store: Store, job: Dict[str, Any], lock: int) -> None:
    """Start the supervisor. It inherits the held lock itself, so there is no moment in which nobody holds it."""
    shutil.rmtree(store.path("build"), ignore_errors=True)
    os.makedirs(store.path("build"), mode=0o700)
    write_json(store.path("build", "job.json"), dict(job, lock=lock))
    with open(store.path("build", "log.txt"), "ab") as log:
        subprocess.Popen(
            own_command(store, "build-job"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
            env=own_environment(),
        )


def own_command(store: Store, command: str) -> list:
    """The argv that runs another command of this very agent."""
    if os.path.isfile(sys.argv[0]) and sys.argv[0].endswith(".pyz"):
        start = [sys.executable, os.path.abspath(sys.argv[0])]
    else:
        start = [sys.executable, "-m", __package__]
    return start + ["--root", store.root, command]


def own_environment() -> Dict[str, str]:
    """The environment for own children: they find the agent's package where this process did."""
    environment = dict(os.environ)
    if not sys.argv[0].endswith(".pyz"):
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _follow(store: Store, key: str) -> bool:
    """Wait until the build lock is free, showing the heartbeat. True when a build of ``key`` was running."""
    seen = False
    beat = 0.0
    while True:
        lock = open_lock(store.path("build.lock"))
        try:
            if try_lock(lock):
                return seen
        finally:
            os.close(lock)
        job = read_json(store.path("build", "job.json")) or {}
        seen = seen or job.get("key") == key
        if time.monotonic() - beat >= HEARTBEAT:
            beat = time.monotonic()
            last = read_json(store.path("build", "heartbeat.json")) or {}
            note = last.get("note") if job.get("key") == key else "waiting for the build of %s" % job.get("release")
            emit("heartbeat", step="build", seconds=last.get("seconds"), note=note)
        time.sleep(0.1)


def _outcome(store: Store, key: str) -> Optional[Dict[str, Any]]:
    """How the last build ended; None when it was another one, or was cut off before it could say."""
    job = read_json(store.path("build", "job.json")) or {}
    outcome = read_json(store.path("build", "outcome.json"))
    return outcome if job.get("key") == key and isinstance(outcome, dict) else None


def _gave_up(store: Store) -> AgentError:
    return AgentError(
        "the build was cut off %d times" % ATTEMPTS,
        "its processes ended without a word: something on the board kills them. The log ends:\n" + log_tail(store),
        "look at the board's system log (dmesg) for `Out of memory` or `Killed process`, and at its free disk space",
        "build",
    )


def log_tail(store: Store, size: int = 2000) -> str:
    """The end of the build's log."""
    try:
        with open(store.path("build", "log.txt"), "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - size, 0))
            return file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
