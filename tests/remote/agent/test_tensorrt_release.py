"""TensorRT's objects are released in the order that it documents, and whatever it does then, no finished work is lost.

TensorRT 8.6.1 was seen to end the process with signal 11 there, after the engine had been built.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.remote import models
from tests.remote.agent.doubles import ERAS, WITH_UFF, plan_of, pybind
from tests.remote.agent.test_tensorrt_agent import Machine
from tests.remote.agent.test_tensorrt_backends import MANIFEST, OPTIONS
from tests.remote.agent.test_tensorrt_int8 import Site

from jetlane.remote.agent import backends
from jetlane.remote.agent.build_job import BuildJob
from jetlane.remote.agent.builder_caches import Caches

#: The last is released first. `Built` is what the builder of TensorRT 5 to 7 gives: an engine.
BUILDING = [
    *("Builder", "INetworkDefinition", "ITimingCache", "IBuilderConfig", "UffParser", "OnnxParser", "Built"),
    "IHostMemory",
]
RUNNING = ["Runtime", "ICudaEngine", "IExecutionContext"]
EVERY = {*BUILDING, *RUNNING, "ILogger", "Log"} - {"IHostMemory"}
PROGRAM = """
import atexit, sys
sys.path[:0] = {paths!r}
from tests.remote.agent import doubles
from tests.remote.agent.doubles import pybind
sys.modules["tensorrt"] = doubles.make({era!r}).module
from jetlane.remote.agent import backends
from jetlane.remote.agent.build_job import BuildJob
from jetlane.remote.agent.trt import cuda
cuda._mapped = lambda: [{cudart!r}]
atexit.register(lambda: print(*pybind.RELEASED))
saved = []
module = backends.module({backend!r})
manifest, options = {manifest!r}, {options!r}
module.build(BuildJob({model!r}, manifest, options, lambda note: None, saved.append)).release()
engine = module.load(saved[0], manifest, options)
del pybind.RELEASED[:]
"""


def order(names: list[str]) -> list[str]:
    """Classes in the order in which the last of their objects were released."""
    seen = [name for name in names if name in {*BUILDING, *RUNNING}]
    return [name for number, name in enumerate(seen) if name not in seen[number + 1 :]]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    def of(era: str) -> tuple[str, Path]:
        backend = "uff" if era in WITH_UFF else "onnx"
        file = tmp_path / f"model.{backend}"
        file.write_bytes(models.small_model() if backend == "uff" else models.heads_model())
        return backend, file

    return of


@pytest.mark.parametrize("era", ERAS)
def test_what_built_an_engine_is_released_in_the_documented_order(
    era: str, put_double: Any, model: Any, tmp_path: Path
) -> None:
    put_double(era)
    backend, file = model(era)
    pybind.RELEASED.clear()
    saved: list[tuple[bytes, list[str]]] = []

    def save(plan: bytes) -> None:
        saved.append((plan, order(pybind.RELEASED)))

    caches = Caches(str(tmp_path), {})
    made = backends.module(backend).build(BuildJob(str(file), MANIFEST, OPTIONS, lambda note: None, save, caches))
    assert [gone for _, gone in saved] == [[]], "the engine is saved before anything is released"
    made.release()
    found = order(pybind.RELEASED)
    assert found == [name for name in reversed(BUILDING) if name in found]
    assert {"Builder", "INetworkDefinition", "IHostMemory"} < set(found)
    assert ("Built" in found) == (era in ("5", "7")) and ("IBuilderConfig" in found) == (era != "5")


@pytest.mark.parametrize("era", ["5", "8.6", "10.3"])
def test_a_program_that_closes_nothing_releases_its_engine_in_the_documented_order(
    era: str, cudart: Any, model: Any, repository: Path
) -> None:
    backend, file = model(era)
    code = PROGRAM.format(
        paths=[str(repository), *filter(None, sys.path)], era=era, cudart=cudart._name, backend=backend,
        manifest=MANIFEST, options=OPTIONS, model=str(file),
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert order(done.stdout.split()) == RUNNING[::-1]


@pytest.mark.parametrize("era", ["5", "7", "8.2", "8.6", "10.3", "11"])
def test_no_command_fails_where_tensorrt_ends_the_process_as_its_objects_go(
    era: str, put_double: Any, cudart: Any, tmp_path: Path, repository: Path
) -> None:
    here = Site(era, put_double(era), cudart, tmp_path)
    board = Machine(tmp_path, era, cudart, repository)
    board.fit("", EVERY)
    request = {"release": here.release}
    for command in ("probe", "build", "verify", "activate", "bench", "health", "status"):
        last = board.ask(command, **request, **({"seconds": 0.01} if command == "bench" else {}))[-1]
        assert last["event"] == "result" and board.code == 0, (command, last)
        assert command != "build" or (last["note"] is None and not last["cached"])


@pytest.fixture
def board(put_double: Any, cudart: Any, tmp_path: Path, repository: Path) -> Any:
    here = Site("8.6", put_double("8.6"), cudart, tmp_path)
    machine = Machine(tmp_path, "8.6", cudart, repository)
    return lambda command: machine.ask(command, release=here.release)[-1], machine


def test_an_engine_whose_maker_crashed_afterwards_counts_and_the_result_says_so(board: Any) -> None:
    ask, machine = board
    machine.fit("", {"IHostMemory"})  # the timing cache's, read after the engine was saved
    built = ask("build")
    assert built["event"] == "result" and not built["cached"], built
    assert built["note"] == "the build ended with signal 11, but the engine was finished and whole by then"
    assert built["note"] in (machine.root / "build" / "log.txt").read_text()
    again = ask("build")
    assert again["cached"] and again["engine"] == built["engine"] and again["note"] is None
    assert ask("verify")["agreed"] and ask("activate")["changed"]


KILLED = """
import os, signal, sys
replace = os.replace
def killed(source, place, **more):
    ours = sys.argv[-1] == "build-work" and os.path.basename(os.path.dirname(place)) == "engines"
    if ours and {when!r} == "before":
        os.kill(os.getpid(), signal.{signal})
    replace(source, place, **more)
    if ours:
        os.kill(os.getpid(), signal.{signal})
os.replace = killed
"""


def test_a_worker_killed_after_the_engine_got_its_name_costs_nothing(board: Any) -> None:
    ask, machine = board
    machine.at_start(KILLED.format(when="after", signal="SIGKILL"))
    built = ask("build")
    assert built["event"] == "result" and "was killed" in built["note"] and "whole by then" in built["note"], built
    machine.at_start("")
    assert ask("build")["cached"] and ask("verify")["agreed"]


def test_a_worker_killed_before_the_engine_has_its_name_leaves_nothing(board: Any) -> None:
    ask, machine = board
    machine.at_start(KILLED.format(when="before", signal="SIGKILL"))
    error = ask("build")
    assert error["event"] == "error" and error["kind"] == "memory" and "signal 9" in error["why"], error
    assert not list((machine.root / "engines").iterdir())
    machine.at_start("")
    built = ask("build")
    assert not built["cached"] and built["note"] is None and ask("verify")["agreed"]


def test_a_build_that_crashes_is_not_started_from_the_same_timing_cache_again(board: Any) -> None:
    ask, machine = board
    assert ask("build")["event"] == "result"
    (kept,) = (machine.root / "caches").glob("timing-*")
    shutil.rmtree(machine.root / "engines")
    machine.at_start(KILLED.format(when="before", signal="SIGSEGV"))
    assert "signal 11" in ask("build")["what"] and not kept.exists()
    machine.at_start("")
    assert ask("build")["event"] == "result" and kept.exists()


def test_a_timing_cache_of_which_a_part_cannot_be_read_back_is_used_all_the_same(
    put_double: Any, model: Any, tmp_path: Path
) -> None:
    double = put_double("8.6")
    backend, file = model("8.6")
    caches = Caches(str(tmp_path / "caches"), {"runtime": "8.6"})

    def started_from() -> str:
        assert plan_of(backends.module(backend), file, MANIFEST, OPTIONS, lambda note: None, caches=caches)
        return str(double.built["cache"])

    assert started_from() == "" and caches.timing()
    double.refuse = "old timings"
    assert started_from() != "" and caches.timing(), "TensorRT says that it will not use it, and is done in a second"
