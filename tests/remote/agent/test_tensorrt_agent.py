"""The whole agent, in its own processes, on boards whose ``tensorrt`` is a double: probe, build, verify, activate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.remote.agent.test_tensorrt_int8 import Site

from jetlane.remote.release.agent_file import agent_file
from jetlane.tasks.bundle.release import read_release

#: The board's tensorrt module: a double, made anew in each process.
_MODULE = """
import sys
sys.path[:0] = {paths!r}
from tests.remote.agent import doubles
from tests.remote.agent.doubles import pybind
double = doubles.make({era!r})
double.board.gpu, double.board.fast_int8, double.board.dla_cores = "7.2", True, 2
double.board.refuse = {refuse!r}
pybind.FATAL.update({fatal!r})
sys.modules["tensorrt"] = double.module
"""


class Machine:
    """Runs the agent's one file as a board does."""

    def __init__(self, folder: Path, era: str, cudart: Any, repository: Path) -> None:
        self.root, self.era, self._repository = folder / "root", era, repository
        self.code = 0  # the last command's exit status
        self._agent = folder / agent_file().name
        self._agent.write_bytes(agent_file().content)
        self._libraries = folder / "libraries"
        self._libraries.mkdir()
        for number in ("13", "12", "11.0", "10.2", "10.0"):  # the machine may have one of its own
            (self._libraries / f"libcudart.so.{number}").symlink_to(cudart._name)
        self.fit("")

    def fit(self, refuse: str, fatal: Iterable[str] = ()) -> None:
        """Put another tensorrt in place.

        Args:
            refuse: What goes wrong.
            fatal: Classes whose objects end the process when they are released.
        """
        paths = [str(self._repository), *filter(None, sys.path)]
        text = _MODULE.format(paths=paths, era=self.era, refuse=refuse, fatal=sorted(fatal))
        (self._libraries / "tensorrt.py").write_text(text)

    def at_start(self, code: str) -> None:
        """Run code at the start of each of the agent's processes."""
        (self._libraries / "sitecustomize.py").write_text(code)

    def ask(self, command: str, **request: Any) -> list[dict[str, Any]]:
        environment = {
            "PATH": os.defpath, "LD_LIBRARY_PATH": str(self._libraries), "PYTHONPATH": str(self._libraries),
            "STUB_CAPABILITY": "7.2",
        }  # fmt: skip
        program = [sys.executable, str(self._agent), "--root", str(self.root), command]
        done = subprocess.run(
            program, input=json.dumps(request) + "\n", capture_output=True, text=True, env=environment
        )
        self.code = done.returncode
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("era", "precision", "backend"),
    [("5", "int8", "uff"), ("8.6", "fp16", "uff"), ("10.3", "int8", "onnx"), ("11", "fp16", "onnx_fp16")],
)
def test_from_probe_to_activation(
    era: str, precision: str, backend: str, put_double: Any, cudart: Any, tmp_path: Path, repository: Path
) -> None:
    here = Site(era, put_double(era), cudart, tmp_path, half=era == "11")
    board = Machine(tmp_path, era, cudart, repository)
    facts = board.ask("probe")[-1]
    assert facts["event"] == "result" and facts["cuda"].get("compute_capability") == "7.2", facts
    assert facts["tensorrt"]["era"] and facts["tensorrt"]["dla_cores"] == 2
    request = {"release": here.release, "options": {"precision": precision, "dla_core": 1}}
    built = board.ask("build", **request)
    assert built[-1]["event"] == "result", built[-1]
    assert built[-1]["backend"] == backend and not built[-1]["cached"]
    assert board.ask("build", **request)[-1]["cached"]
    verified = board.ask("verify", **request)[-1]
    assert verified["event"] == "result" and verified["agreed"] and verified["matched"] > 10, verified
    assert verified["latency"]["execute_median_ms"] > 0 and verified["peak_memory"] > 1e6
    assert board.ask("activate", **request)[-1]["event"] == "result"
    assert (board.root / "current").resolve().name == here.release
    kept = sorted(path.name.split("-")[0] for path in (board.root / "caches").iterdir())
    expected = ["calibration"] if precision == "int8" else []
    assert kept == [*expected, "platform.json", *(["timing"] if era != "5" else [])]


def test_a_failed_build_comes_back_with_tensorrts_words_and_what_they_mean(
    put_double: Any, cudart: Any, tmp_path: Path, repository: Path
) -> None:
    here = Site("8.2", put_double("8.2"), cudart, tmp_path)
    board = Machine(tmp_path, "8.2", cudart, repository)
    board.fit("memory")
    error = board.ask("build", release=here.release)[-1]
    assert error["event"] == "error" and error["kind"] == "build", error
    assert "the board ran out of memory" in error["why"] and "Tactic Device request" in error["why"]
    assert "swap" in error["remedy"]
    log = (board.root / "build" / "log.txt").read_text()
    assert "[TensorRT] E: Error Code 1: Cuda Runtime (out of memory)" in log
    board.fit("")
    assert board.ask("build", release=here.release)[-1]["event"] == "result"


def test_what_a_board_cannot_do_ends_before_anything_is_built(
    put_double: Any, cudart: Any, tmp_path: Path, repository: Path
) -> None:
    here = Site("11", put_double("11"), cudart, tmp_path)
    board = Machine(tmp_path, "11", cudart, repository)
    error = board.ask("build", release=here.release, options={"precision": "int8"})[-1]
    assert error["kind"] == "backend" and "property of the model" in error["why"]
    assert not list((board.root / "engines").iterdir())
    assert "onnx_fp16" not in read_release(tmp_path / here.release).manifest["backends"]
