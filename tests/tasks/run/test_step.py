"""Steps as Prefect tasks, without Prefect and with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prefect import Task

from jetlane.tasks.run.step import Step, step
from jetlane.tasks.run.workspace import StepResult


@step("made")
def made(cached: bool) -> StepResult:
    """A step that was found, or made."""
    return StepResult("made", "key", Path("."), {}, {}, cached, 0.0)


def test_a_step_is_a_prefect_task() -> None:
    assert isinstance(made, Task) and isinstance(made.with_options(name="other"), Step)
    assert made.name == "made" and made.with_options(name="other").name == "other"
    assert made.__doc__ == "A step that was found, or made."


@pytest.mark.parametrize("cached", [True, False])
def test_a_step_needs_no_prefect_server(cached: bool) -> None:
    for function in (made.fn, made.__wrapped__, made.with_options(name="other").fn):
        assert function(cached).cached is cached


_PROGRAM = """
from pathlib import Path
from prefect import flow
from jetlane.tasks.run.step import step
from jetlane.tasks.run.workspace import StepResult

@step("made")
def made(cached):
    return StepResult("made", "key", Path("."), {}, {}, cached, 0.0)

@flow
def story():
    renamed = made.with_options(name="renamed")
    for cached in (True, False):
        for task in (made, renamed):
            assert task(cached).cached is cached
            state = task(cached, return_state=True)
            submitted = task.submit(cached)
            assert submitted.result().cached is cached and state.result().cached is cached
            print(state.name, submitted.state.name)

story()
"""


@pytest.mark.prefect
def test_what_was_found_is_shown_as_cached(tmp_path: Path) -> None:
    from jetlane.flows.serving.private_server import PrefectApi

    with PrefectApi(tmp_path) as api:
        api.wait()
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["Cached"] * 4 + ["Completed"] * 4
