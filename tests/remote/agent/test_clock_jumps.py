"""A board's wall clock may stand in 1970 and jump: nothing that the agent does depends on it."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.release.agent_file import agent_file

#: What asks the wall clock, or a file for its time; and waits of threading, whose limits are times of the wall clock
#: before Python 3.11.
WALL = {
    *("time", "time_ns", "datetime", "localtime", "gmtime", "ctime", "strftime", "mktime", "clock", "utime"),
    *("st_mtime", "st_ctime", "st_atime", "st_mtime_ns", "getmtime", "getctime", "getatime"),
    *("Event", "Condition", "Semaphore", "BoundedSemaphore", "Timer", "Barrier", "Queue"),
}
JUMPS = {"an hour ahead": "3600", "an hour behind": "-3600", "to and fro": None}


def test_nothing_of_the_agent_asks_the_wall_clock(repository: Path) -> None:
    for path in sorted((repository / "remote" / "agent").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                assert node.attr not in WALL, f"{path.name}:{node.lineno} {node.attr}"
            elif isinstance(node, ast.ImportFrom) and node.module in ("time", "threading", "datetime"):
                raise AssertionError(f"{path.name}:{node.lineno}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                timed = bool(node.args or node.keywords) and node.func.attr in ("join", "acquire")
                text = (
                    isinstance(node.func.value, (ast.Constant, ast.Attribute)) or ast.unparse(node.func.value) == "path"
                )
                assert not timed or text, f"{path.name}:{node.lineno} a limit of {node.func.attr}"


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], dict[str, str]]:
    """The environment of a process whose wall clock is off by so many seconds, or jumps all the time."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the clock")
    library = tmp_path_factory.mktemp("clock") / "jumping_clock.so"
    source = Path(__file__).with_name("jumping_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return lambda jump: {**os.environ, "LD_PRELOAD": str(library), **({} if jump is None else {"CLOCK_JUMP": jump})}


@pytest.fixture(params=["3.6", "own"])
def python(request: pytest.FixtureRequest) -> str:
    """A board's Python, and this one: they wait in different ways."""
    return str(request.getfixturevalue("python36")) if request.param == "3.6" else sys.executable


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / agent_file().name
    path.write_bytes(agent_file().content)
    return path


#: Every wait of the agent that has a limit, and what it took of the monotonic clock.
_WAITS = """
import json, os, subprocess, sys, time
sys.path.insert(0, sys.argv[1])
from jetlane_agent import event_output, hooks, input_stream
from jetlane_agent.errors import AgentError
from jetlane_agent.monotonic_event import MonotonicEvent
from jetlane_agent.store import Store

store, took, beats = Store(sys.argv[2]), {}, []
event_output.emit = lambda event, **fields: beats.append(event)

def timed(name, wait):
    begin = time.monotonic()
    try:
        wait()
    except AgentError as error:
        took[name + " said"] = error.kind
    took[name] = time.monotonic() - begin

def beating():
    with event_output.heartbeat(every=0.1):
        time.sleep(1.0)

def held():
    with store.lock():
        with store.lock(wait=0.5):
            pass

timed("pause", lambda: MonotonicEvent().wait(0.5))
timed("heartbeat", beating)
timed("lock", held)
timed("command", lambda: hooks.run(store, ["sleep", "60"], None, store.new_log("x"), timeout=0.5))
timed("silence", lambda: list(input_stream.InputStream(os.pipe()[0], silence=0.5).exactly(1)))
took["beats"] = len(beats)
print(json.dumps(took))
"""


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_waits_take_as_long_as_they_should_whatever_the_clock_does(
    clock: Any, python: str, agent: Path, tmp_path: Path, jump: str | None
) -> None:
    command = [python, "-c", _WAITS, str(agent), str(tmp_path / "root")]
    done = subprocess.run(command, env=clock(jump), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    took = json.loads(done.stdout)
    assert took.pop("lock said") == "busy" and took.pop("silence said") == "cut"
    assert 3 <= took.pop("beats") <= 12
    assert 0.95 <= took.pop("heartbeat") < 10
    assert set(took) == {"pause", "lock", "command", "silence"}
    assert all(0.45 <= seconds < 10 for seconds in took.values()), took


@pytest.mark.parametrize("jump", JUMPS.values(), ids=JUMPS)
def test_a_delivery_with_its_windows_goes_through_whatever_the_clock_does(
    clock: Any, python: str, agent: Path, release: Path, tmp_path: Path, jump: str | None
) -> None:
    root = tmp_path / "root"
    health = {"command": ["sh", "-c", "echo asked >> asked"], "window_s": 1.0, "interval_s": 0.2}
    config = {"build": {"before": [["sleep", "0.3"]], "after": [["true"]]}, "activate": {"health": health}}
    (root / "releases").mkdir(parents=True)
    shutil.copytree(release, root / "releases" / release.name)
    (root / "config.json").write_text(json.dumps(config))
    for word in ("build", "verify", "activate", "health", "rollback", "status", "collect-garbage"):
        begin = time.monotonic()
        done = subprocess.run(
            [python, str(agent), "--root", str(root), word],
            input=json.dumps({"release": release.name, "keep": 1}).encode() + b"\n",
            env=clock(jump),
            capture_output=True,
            timeout=90,
        )
        last = json.loads(done.stdout.splitlines()[-1])
        assert last["event"] == "result", (word, last)
        if word == "activate":
            assert time.monotonic() - begin >= 1.0, "the window was waited for"
            assert 2 <= (root / "asked").read_text().count("asked") <= 7
        if word == "build":
            assert 0 <= last["seconds"] < 90 and not last["cached"]
