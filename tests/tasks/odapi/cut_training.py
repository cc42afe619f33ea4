"""A training whose run is killed in its middle, and the process that it leaves behind or does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from jetlane.tasks.odapi.client import TrainJob

#: Stands in for a run: trains, and prints the child's process id as long as the training goes.
RUN = """
import json, pathlib, sys
from jetlane.tasks.odapi.client import OdapiChild, TrainJob
job, log = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2])
for key in ("pipeline_config", "label_map", "model_dir"):
    job[key] = pathlib.Path(job[key])
with OdapiChild(None, log) as child:
    child.train(TrainJob(**job), lambda progress: print(child.pid, progress.step, flush=True))
"""


def cut_training(job: TrainJob, log: Path, checkpoints: str) -> int:
    """Kill a run (signal 9) that has trained three steps; its child goes with it.

    Args:
        checkpoints: Pattern of its checkpoints' index files, in ``job.model_dir``.

    Returns:
        The step of the last checkpoint.
    """
    command = [sys.executable, "-c", RUN, json.dumps(vars(job), default=str), str(log)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    for line in run.stdout:
        pid, step = map(int, line.split())
        if step >= 3:
            break
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    wait_until_gone(pid)
    return max(int(path.stem.split("-")[1]) for path in job.model_dir.glob(checkpoints))


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
