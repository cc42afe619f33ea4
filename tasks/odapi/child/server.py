"""One job after the other: JSON lines in, JSON events out, and no life after the parent.

In:  ``{"job": "train", ...arguments...}``
Out: ``{"event": "ready"}`` once; then for each job any number of ``{"event": "progress", ...}`` and one
``{"event": "result", "facts": {...}}`` or ``{"event": "error", "what", "why", "remedy"}``.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from typing import Any

from .errors import JobError

#: Modules of this package; each has ``run(arguments, emit) -> facts``.
JOBS = (
    *("train", "prune", "evaluate", "export", "freeze", "infer", "probe"),
    *("train_keras", "evaluate_keras", "export_keras"),
)


def serve(jobs_fd: int, events_fd: int) -> None:
    """Run jobs until the parent closes its end of the pipe, which ends this process at once, even in a job."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent as well; it decides
    os.set_inheritable(jobs_fd, False)
    os.set_inheritable(events_fd, False)
    events = os.fdopen(events_fd, "w", encoding="utf-8")
    jobs: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs_fd, jobs), daemon=True).start()

    def emit(event: str, **values: Any) -> None:
        events.write(json.dumps(dict(values, event=event)) + "\n")
        events.flush()

    emit("ready", python=sys.version.split()[0])
    while True:
        _run(jobs.get(), emit)


def _read_jobs(jobs_fd: int, jobs: Any) -> None:
    """Queue what comes; end the process when the pipe does: that is how a parent's SIGKILL is noticed."""
    with os.fdopen(jobs_fd, "r", encoding="utf-8") as lines:
        for line in lines:
            jobs.put(json.loads(line))
    os._exit(0)


def _run(job: dict[str, Any], emit: Any) -> None:
    name = job.pop("job")
    print(f"---- job: {name} {json.dumps(job):.300}", flush=True)
    try:
        if name not in JOBS:
            raise JobError(f"unknown job {name!r}")
        facts = importlib.import_module("." + name, __package__).run(job, emit)
    except JobError as error:
        emit("error", what=error.what, why=error.why, remedy=error.remedy)
    except Exception as error:
        traceback.print_exc()
        sys.stderr.flush()
        emit("error", what="", why=f"{type(error).__name__}: {error}", remedy="")
    else:
        emit("result", facts=facts)
