"""The process that outlives the SSH session while an engine is built, and starts the worker that may die of it.

It holds the build lock, writes a heartbeat, and explains how the worker ended.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict, Optional

from .. import engines, hooks, strict_json
from ..board_conditions import memory
from ..errors import AgentError
from ..monotonic_event import MonotonicEvent
from ..safe_files import open_plain, read_object, remove, replace_json, write_json
from ..store import Store
from .build import PENDING, log_tail, own_command, own_environment, run_pending_cleanup
from .build_worker import SUPERVISOR


def supervise(store: Store, request: Dict[str, Any]) -> None:
    """Build, and see to everything around it; leave ``outcome.json`` and free the lock by exiting."""
    job = read_object(store.path("build", "job.json"))
    os.set_inheritable(job["lock"], False)
    watch = Watch(store, job["id"])
    with watch:
        if job["before"] or job["after"]:
            # on disk before the first command stops anything: should this process be killed, the next one runs the rest
            write_json(store.path("build", PENDING), {"release": job["release"], "after": job["after"]})
        note = ""
        error = _run_before(store, job, watch) or _run_worker(store, watch)
        if error is not None and error["kind"] != "cancelled" and engines.find_made(store, job["recipe"]) is not None:
            # there was no such engine before: it was finished, and counts, however the process ended that made it
            note, error = "%s, but the engine was finished and whole by then" % error["what"], None
            sys.stderr.write("%s\n" % note)
        if error is not None:  # what the worker wrote last may be what filled the disk
            remove(store.path("engines", job["key"] + ".part"))
            if error["kind"] == "build":  # it may have failed for what it started from
                engines.caches(store, job["recipe"]).forget()
        watch.note = "commands after the build"
        try:
            run_pending_cleanup(store)
        except AgentError as failure:  # still pending; the next request for the engine runs them again and reports it
            sys.stderr.write("%s\n" % failure)
    write_json(store.path("build", "outcome.json"), {"id": job["id"], "error": error, "note": note})


class Watch(object):
    """Writes the heartbeat file while the supervisor waits; sees a request to cancel.

    Attributes:
        note: What is being done, for people.
        pid: The worker's.
        least: Fewest bytes of memory that were available.
    """

    def __init__(self, store: Store, identity: str) -> None:
        self.note = None  # type: Optional[str]
        self.pid = None  # type: Optional[int]
        self.least = None  # type: Optional[int]
        self._store = store
        self._identity = identity
        self._started = time.monotonic()
        self._done = MonotonicEvent()
        self._thread = threading.Thread(target=self._beat)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *problem: Any) -> None:
        self._done.set()
        self._thread.join()
        self._done.close()

    def cancelled(self) -> bool:
        try:
            with open_plain(self._store.path("build", "cancel")) as file:
                return file.read(100) == self._identity.encode("ascii")
        except OSError:
            return False

    def _beat(self) -> None:
        while True:
            available = memory().get("MemAvailable")
            if available is not None:
                self.least = available if self.least is None else min(self.least, available)
            seconds = round(time.monotonic() - self._started, 1)
            try:
                # not flushed to disk: it is of no use after a power cut, and memory cards wear out
                replace_json(
                    self._store.path("build", "heartbeat.json"),
                    {"seconds": seconds, "note": self.note, "pid": self.pid},
                )
            except (OSError, AgentError):  # a full disk stops the worker, never the one who explains it
                pass
            if self._done.wait(0.2 if self.pid is None else 1.0):
                return


def _run_before(store: Store, job: Dict[str, Any], watch: Watch) -> Optional[Dict[str, str]]:
    """The commands before a build; the first that fails prevents it."""
    for argv in job["before"]:
        watch.note = "command before the build: %s" % argv[0]
        well, words = hooks.run(store, argv, job["release"], store.path("build", "log.txt"), stopped=watch.cancelled)
        if watch.cancelled():
            return _cancelled_error()
        if not well:
            return {
                "what": "the command before the build failed: %s" % " ".join(argv),
                "why": words,
                "remedy": "correct the command, in the spec or in config.json on the board",
                "kind": "command",
            }
    return None


def _run_worker(store: Store, watch: Watch) -> Optional[Dict[str, str]]:
    """Run the worker to its end; returns what went wrong."""
    worker = subprocess.Popen(
        own_command(store, "build-work"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        # What a killed worker leaves half written is cleared away by the next build; and /tmp may lie in memory.
        env=dict(own_environment(), TMPDIR=store.path("build"), **{SUPERVISOR: str(os.getpid())}),
    )
    watch.note, watch.pid = None, worker.pid
    last = {}  # type: Dict[str, Dict[str, str]]
    reader = threading.Thread(target=_read_events, args=(worker, watch, last))
    reader.daemon = True
    reader.start()
    cancelled = False
    while True:
        try:
            worker.wait(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            if not cancelled and watch.cancelled():
                cancelled = True
                worker.kill()  # deep in TensorRT it hears nothing else; what it writes, it writes atomically
    deadline = time.monotonic() + 5.0
    while reader.is_alive() and time.monotonic() < deadline:  # a limit given to join() is one of the wall clock
        time.sleep(0.02)
    if cancelled and worker.returncode:
        return _cancelled_error()
    return _explain_exit(store, worker.returncode, last.get("error"), watch.least)


def _read_events(worker: Any, watch: Watch, last: Dict[str, Dict[str, str]]) -> None:
    """Keep the worker's latest note and its error; pass every line on to the log."""
    for raw in worker.stdout:
        line = raw.decode("utf-8", "replace")
        sys.stderr.write(line)
        sys.stderr.flush()
        try:
            event = strict_json.loads(raw)
        except ValueError:
            continue
        if not isinstance(event, dict):  # TensorRT's own words may look like JSON
            continue
        if event.get("event") == "error":
            last["error"] = {name: str(event.get(name) or "") for name in ("what", "why", "remedy", "kind")}
        elif event.get("note"):
            watch.note = str(event["note"])


def _cancelled_error() -> Dict[str, str]:
    return {
        "what": "the build was cancelled",
        "why": "`cancel` was called",
        "remedy": "deliver again when it may be built",
        "kind": "cancelled",
    }


def _explain_exit(
    store: Store, code: int, said: Optional[Dict[str, str]], least: Optional[int]
) -> Optional[Dict[str, str]]:
    """What went wrong, in the three parts; None when nothing did."""
    if code == 0:
        return None
    if said is not None:
        return said
    figures = "of the board's %d MB of memory, %d MB were free at the lowest point" % (
        memory().get("MemTotal", 0) >> 20,
        (least or 0) >> 20,
    )
    if code == -signal.SIGKILL:
        return {
            "what": "the build was killed: the board ran out of memory",
            "why": "signal 9 is what the kernel sends when memory runs out (or a user sent it); " + figures,
            "remedy": "stop other programs on the board (build.before can), lower build.workspace_mb, or add swap; "
            "then run again",
            "kind": "memory",
        }
    how = "signal %d" % -code if code < 0 else "exit code %d" % code
    return {
        "what": "the build ended with %s" % how,
        "why": "its log ends:\n" + log_tail(store) + "\n" + figures,
        "remedy": "the whole log is build/log.txt in the agent's folder on the board",
        "kind": "build",
    }
