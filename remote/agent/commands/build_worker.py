"""The process that builds an engine. It holds the memory, and may die of that, or of TensorRT.

It is first in line when the board runs out of memory, before the board's own application.
"""

import ctypes
import os
import signal
import time
from typing import Any, Dict

from .. import backends, engines, process_end, recipes
from .. import manifest as manifests
from ..build_job import BuildJob
from ..errors import AgentError
from ..event_output import emit
from ..safe_files import read_object
from ..store import Store

_PR_SET_PDEATHSIG = 1
#: In the worker's environment: the process it must not outlive.
SUPERVISOR = "JETLANE_BUILD_SUPERVISOR"


def work(store: Store, request: Dict[str, Any]) -> Dict[str, Any]:
    """Build the engine that ``job.json`` asks for, and put it under its key.

    Each file that goes into it is read once and checked: should one have been altered, or be replaced meanwhile, no
    engine of other bytes comes under the key of these.
    """
    _lower_priority()
    job = read_object(store.path("build", "job.json"))
    folder, manifest = store.release(job["release"]), store.manifest(job["release"])
    path = manifest["backends"][job["backend"]]
    model = os.path.join(folder, path)
    if job["recipe"]["model"] != manifest["files"][path]["sha256"] or recipes.key_of(job["recipe"]) != job["key"]:
        raise AgentError("the build's job was altered on the board", "build/job.json", "run again", "tampered")
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
    read = manifests.Checked(folder, manifest)
    made: Dict[str, Any] = {}

    def save(engine: bytes) -> None:
        seconds = round(time.monotonic() - started, 3)
        made.update(engines.keep(store, job["key"], engine, {"recipe": job["recipe"], "seconds": seconds}))

    todo = BuildJob(model, manifest, job["options"], progress, save, caches, read)
    process_end.keep(backends.module(job["backend"]).build(todo))
    return made


def _lower_priority() -> None:
    """End with the supervisor, yield the processor, and be the first to go when memory runs out."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if str(os.getppid()) != os.environ.get(SUPERVISOR):
        os._exit(1)  # it died before we could ask to die with it
    os.nice(10)
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass
