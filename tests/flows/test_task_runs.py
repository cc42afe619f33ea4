"""Devices as Prefect task runs: what they hand over, and what they hold."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = '''
import gc, weakref
from prefect import flow
from jetlane.flows.fleet.task_runs import TaskRunExecutor, thread_task_runner
from jetlane.flows.serving.local_run import quiet_prefect

class Load:
    """Stands for what a closure holds: a release, a connection."""
    name = "done"

def work(load, fails):
    def run():
        if fails:
            raise OSError("no route")
        return load.name
    return run

@flow(task_runner=thread_task_runner())
def rollout():
    executor, held, outcomes = TaskRunExecutor(), [], []
    for number in range(6):
        load = Load()
        held.append(weakref.ref(load))
        outcomes.append(executor.submit(f"board-{number}", work(load, number == 5)))
        del load
    executor.close()
    results = [repr(one.exception() or one.result()) for one in outcomes]
    del outcomes
    gc.collect()
    print("RESULTS", results)
    print("HELD", sum(ref() is not None for ref in held))

rollout()
'''


@pytest.mark.prefect
def test_a_task_run_that_has_ended_holds_nothing_of_its_work(prefect_server: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=prefect_server, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("'done'") == 5 and "OSError('no route')" in done.stdout
    assert "HELD 0" in done.stdout
