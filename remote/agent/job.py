"""The build's own processes: a supervisor that outlives the SSH session, and under it the worker that may die.

The supervisor holds the build lock, writes a heartbeat, and explains how the worker ended. The worker holds the memory:
it is first in line when the board runs out of it, before the board's own application.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict, Optional

from . import engines, roads
from .build import log_tail, own_command, own_environment
from .errors import AgentError
from .events import emit
from .files import read_json, write_json
from .probe import probe
from .store import Store

_PR_SET_PDEATHSIG = 1
#: In the worker's environment: the process it must not outlive.
_SUPERVISOR = "JETLANE_BUILD_SUPERVISOR"


def supervise(store: Store) -> None:
    """Run the worker to its end; leave ``outcome.json`` and free the lock by exiting."""
    job = read_json(store.path("build", "job.json")) or {}
    os.set_inheritable(job["lock"], False)
    started = time.monotonic()
    worker = subprocess.Popen(
        own_command(store, "build-work"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        # What a killed worker leaves half written is cleared away by the next build; and /tmp may lie in memory.
        env=dict(own_environment(), TMPDIR=store.path("build"), **{_SUPERVISOR: str(os.getpid())}),
    )
    last: Dict[str, Any] = {}
    reader = threading.Thread(target=_read_events, args=(worker, last))
    reader.daemon = True
    reader.start()
    while True:
        beat = {"seconds": round(time.monotonic() - started, 1), "note": last.get("note"), "pid": worker.pid}
        try:
            write_json(store.path("build", "heartbeat.json"), beat)
        except OSError:  # a full disk stops the worker with an explanation, never the one who explains
            pass
        try:
            worker.wait(timeout=1.0)
            break
        except subprocess.TimeoutExpired:
            continue
    reader.join(timeout=5.0)
    write_json(store.path("build", "outcome.json"), {"error": _error(store, worker.returncode, last)})


def _read_events(worker: Any, last: Dict[str, Any]) -> None:
    """Keep the worker's latest note and its error; pass every line on to the log."""
    for raw in worker.stdout:
        line = raw.decode("utf-8", "replace")
        sys.stderr.write(line)
        sys.stderr.flush()
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if event.get("event") == "error":
            last["error"] = {name: event.get(name) or "" for name in ("what", "why", "remedy", "kind")}
        elif event.get("note"):
            last["note"] = event["note"]


def _error(store: Store, code: int, last: Dict[str, Any]) -> Optional[Dict[str, str]]:
    """What went wrong, in the three parts; None when nothing did."""
    if code == 0:
        return None
    if "error" in last:
        return last["error"]
    facts = probe(store)
    memory = "%d MB of %d MB were free afterwards" % (
        (facts["memory_available"] or 0) >> 20,
        (facts["memory_total"] or 0) >> 20,
    )
    if code == -signal.SIGKILL:
        return {
            "what": "the build was killed: the board ran out of memory",
            "why": "signal 9 is what the kernel sends when memory runs out (or somebody sent it); " + memory,
            "remedy": "stop other programs on the board, lower build.workspace_mb, or add swap; then run again",
            "kind": "memory",
        }
    how = "signal %d" % -code if code < 0 else "exit code %d" % code
    return {
        "what": "the build ended with %s" % how,
        "why": "its log ends:\n" + log_tail(store) + "\n" + memory,
        "remedy": "the whole log is build/log.txt in the agent's folder on the board",
        "kind": "build",
    }


def work(store: Store) -> Dict[str, Any]:
    """Build the engine that ``job.json`` asks for, and put it under its key."""
    _be_modest()
    job = read_json(store.path("build", "job.json")) or {}
    manifest = store.manifest(job["release"])
    model = os.path.join(store.release(job["release"]), manifest["roads"][job["road"]])
    free = store.free_bytes()
    if free < 3 * os.path.getsize(model):
        raise AgentError(
            "the board's disk is too full to build on: %.1f MB is free" % (free / 1e6),
            "an engine of this model needs about %.1f MB" % (3 * os.path.getsize(model) / 1e6),
            "free some space on the board, then run again",
            "disk",
        )
    started = time.monotonic()

    def progress(note: str) -> None:
        emit("progress", step="build", note=note)

    caches = engines.caches(store, job["recipe"])
    engine = roads.module(job["road"]).build(model, manifest, job["options"], progress, caches)
    seconds = round(time.monotonic() - started, 3)
    return engines.keep(store, job["key"], engine, {"recipe": job["recipe"], "seconds": seconds})


def _be_modest() -> None:
    """End with the supervisor, yield the processor, and be the first to go when memory runs out."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if str(os.getppid()) != os.environ.get(_SUPERVISOR):
        os._exit(1)  # it died before we could ask to die with it
    os.nice(10)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
