"""SIGKILL in the middle of each step: the next run finishes, and redoes only the step that was cut."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.flows.output import read_until
from tests.flows.small_spec import write_spec

from jetlane.remote.virtual import fleet as virtual

pytestmark = pytest.mark.prefect

STEPS = ["dataset", "train", "evaluate", "gate", "export", "plugins", "convert", "preflight", "release", "deploy"]
BOARD = ".jetlane/virtual/virtual-jetson-1/home/jetlane"


@pytest.fixture
def project(tmp_path: Path, fake_odapi: Path) -> Path:
    write_spec(tmp_path, "cut", fake_odapi)
    return tmp_path


@pytest.fixture
def fleet(project: Path, fake_odapi: Path) -> Iterator[None]:
    """The project has a device, and a release that takes a moment to get there."""
    write_spec(project, "cut", fake_odapi, 60, fleet={"virtual": 1})
    yield
    virtual.stop(project / ".jetlane" / "virtual")


def start(project: Path, environment: dict[str, str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "jetlane", "run", "spec.yaml"],
        cwd=project,
        env={**environment, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def states(output: str) -> dict[str, str]:
    """The step table as it was printed."""
    return {name: state for name, state in re.findall(r"^(\w+) +(\w+)(?: |$)", output, re.M) if name in STEPS}


def kill_when(run: subprocess.Popen[str], happened: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert run.poll() is None, f"it ended before it could be cut:\n{run.communicate()[0]}"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()


def some(folder: Path, pattern: str) -> Callable[[], bool]:
    return lambda: any(True for _ in folder.glob(pattern))


def trained_to(project: Path, step: int) -> Callable[[], bool]:
    def reached() -> bool:
        marks = list(project.glob(".jetlane/steps/train/*.part/model/checkpoint"))
        return bool(marks) and marks[0].read_text() == str(step)

    return reached


rarely = partial(pytest.param, marks=pytest.mark.slow)
# Each row: the step that is cut, how its middle is recognised, which job the fake is to hang in. Cut in every test run:
# those that do their work in three different places. Agents killed while they build are tested in remote/agent.
CUTS = [
    pytest.param("train", lambda project: trained_to(project, 3), "train", id="train"),
    rarely("evaluate", lambda project: some(project, ".jetlane/steps/evaluate/*.part"), "evaluate", id="evaluate"),
    rarely("export", lambda project: some(project, ".jetlane/steps/export/*.part"), "export", id="export"),
    pytest.param("convert", lambda project: some(project, ".jetlane/steps/convert/*.part"), "", id="convert"),
    rarely("preflight", lambda project: some(project, ".jetlane/steps/preflight/*.part"), "infer", id="preflight"),
    rarely("release", lambda project: some(project, ".jetlane/steps/release/*.part"), "", id="release"),
    pytest.param("deploy", lambda project: some(project, f"{BOARD}/**/*.part"), "", id="upload"),
    rarely("deploy", lambda project: some(project, f"{BOARD}/build/*.json"), "", id="build"),
]


@pytest.mark.parametrize(("step", "middle", "hang"), CUTS)
def test_only_the_cut_step_is_done_again(
    project: Path, prefect_server, step: str, middle, hang: str, request: pytest.FixtureRequest
) -> None:
    if step == "deploy":
        request.getfixturevalue("fleet")
    kill_when(start(project, prefect_server, JETLANE_TEST_HANG=hang), middle(project))
    run = start(project, prefect_server)
    output = run.communicate(timeout=120)[0]
    assert run.returncode == 0, output
    found = states(output)
    before = [name for name in STEPS[: STEPS.index(step)] if name != "gate"]
    assert {name: found[name] for name in before} == dict.fromkeys(before, "cached"), output
    assert found[step] == "made", output
    if step == "train":
        assert "went on from step 3" in output
    if request.node.callspec.id == "build":
        assert "nothing sent" in output, output


def test_nothing_outlives_a_killed_run(project: Path, fake_odapi: Path) -> None:
    """The private server and the Object Detection API's process end with the run that started them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    run = start(project, environment, JETLANE_TEST_HANG="train")
    children: set[int] = set()

    def trained() -> bool:
        children.update(_children(run.pid))
        return trained_to(project, 3)()

    kill_when(run, trained)
    deadline = time.monotonic() + 10
    while any(_alive(pid) for pid in children):
        assert time.monotonic() < deadline, "a child of the killed run is still there"
        time.sleep(0.05)
    assert len(children) >= 2


def test_ctrl_c_is_no_traceback(project: Path, prefect_server) -> None:
    run = start(project, prefect_server, JETLANE_TEST_HANG="train")
    while not trained_to(project, 3)():
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGINT)
    output = run.communicate(timeout=60)[0]
    assert run.returncode == 130, output
    assert "run the same command again to go on from here" in output and "Traceback" not in output


@pytest.mark.slow
@pytest.mark.usefixtures("fleet")
def test_two_runs_at_once_each_with_a_server_of_its_own(project: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    both = [start(project, environment) for _ in range(2)]
    outputs = [run.communicate(timeout=300)[0] for run in both]
    assert [run.returncode for run in both] == [0, 0], outputs
    made = [sum(state == "made" for state in states(output).values()) for output in outputs]
    assert min(made) == 0 or sum(made) <= len(STEPS) + 1, outputs  # no step was made twice
    assert sorted(path.name for path in (project / ".jetlane" / "prefect").iterdir()) == ["0", "1"]


def test_two_runs_at_once_train_one_after_the_other(project: Path, prefect_server) -> None:
    """Two specs, one workspace: both finish, and the second training waits for the first."""
    first = start(project, prefect_server, JETLANE_TEST_HANG="train")
    deadline = time.monotonic() + 60
    while not trained_to(project, 3)():
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.01)
    text = (project / "spec.yaml").read_text()
    (project / "spec.yaml").write_text(text.replace("steps: 6", "steps: 7"))
    second = start(project, prefect_server)
    seen = read_until(second, "another training is under way")
    first.kill()
    first.communicate()
    rest = second.communicate(timeout=120)[0]
    assert second.returncode == 0, seen + rest
    assert states(seen + rest)["train"] == "made"


def _children(pid: int) -> set[int]:
    listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return {int(number) for text in listed for number in text.split()}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
