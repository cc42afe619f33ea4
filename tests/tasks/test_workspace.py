"""Content-addressed steps: made once, made whole, made again exactly when something they depend on changed."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from jetlane.specs.errors import WorkspaceError
from jetlane.tasks.workspace import StepResult, Workspace


def make(workspace: Workspace, text: str = "x", **changes) -> StepResult:
    def write(out: Path) -> dict[str, int]:
        (out / "folder").mkdir(exist_ok=True)
        (out / "folder" / "text").write_text(text)
        return {"length": len(text)}

    recipe = {"inputs": {"a": "1"}, "params": {"p": 1}, "code": ("jetlane.specs.errors",), "make": write, **changes}
    return workspace.step("step", **recipe)


def test_a_step_is_made_once(tmp_path: Path) -> None:
    first, second = make(Workspace(tmp_path)), make(Workspace(tmp_path), text="never written")
    assert (first.cached, second.cached) == (False, True)
    assert second.path == first.path and second.outputs == first.outputs and second.facts == {"length": 1}
    assert first.file("folder/text").read_text() == "x"


@pytest.mark.parametrize(
    "change", [{"inputs": {"a": "2"}}, {"params": {"p": 2}}, {"code": ("jetlane.specs.paths",)}, {"inputs": {"b": "1"}}]
)
def test_a_change_of_input_parameter_or_code_makes_it_again(tmp_path: Path, change) -> None:
    workspace = Workspace(tmp_path)
    make(workspace)
    assert not make(workspace, **change).cached
    assert make(workspace).cached  # and the first one is still there


def test_the_code_is_the_sources_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "somepackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text("a = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    workspace = Workspace(tmp_path / "workspace")
    assert not make(workspace, code=("somepackage",)).cached
    (package / "__pycache__").mkdir(exist_ok=True)
    (package / "__pycache__" / "part.pyc").write_text("whatever")
    assert make(workspace, code=("somepackage",)).cached
    (package / "part.py").write_text("a = 2\n")
    assert not make(workspace, code=("somepackage",)).cached
    monkeypatch.delitem(sys.modules, "somepackage", raising=False)


def test_a_failed_step_leaves_nothing_that_counts_as_done(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        (out / "half").write_text("half")
        raise RuntimeError

    workspace = Workspace(tmp_path)
    with pytest.raises(RuntimeError):
        make(workspace, make=fail)
    result = make(workspace)
    assert not result.cached and not result.file("half").exists()


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    def fill(out: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out / "big"))

    with pytest.raises(WorkspaceError, match="No space left on device") as caught:
        make(Workspace(tmp_path), make=fill)
    assert "make room" in caught.value.remedy
    assert make(Workspace(tmp_path)).file("folder/text").is_file()


def test_a_resumable_step_finds_what_a_cut_attempt_left(tmp_path: Path) -> None:
    def fail(out: Path) -> None:
        (out / "checkpoint").write_text("5")
        raise RuntimeError

    def go_on(out: Path) -> dict[str, int]:
        return {"from": int((out / "checkpoint").read_text())}

    workspace = Workspace(tmp_path)
    with pytest.raises(RuntimeError):
        make(workspace, make=fail, resumable=True)
    assert make(workspace, make=go_on, resumable=True).facts == {"from": 5}


@pytest.mark.parametrize("damage", ["truncate", "delete", "manifest"])
def test_a_damaged_output_is_made_again(tmp_path: Path, damage: str) -> None:
    workspace = Workspace(tmp_path)
    victim = make(workspace).file("folder/text")
    if damage == "truncate":
        victim.write_text("")
    elif damage == "delete":
        victim.unlink()
    else:
        (victim.parent.parent / "manifest.json").write_text("{")
    again = make(workspace)
    assert not again.cached and again.file("folder/text").read_text() == "x"


def _hold(folder: Path, done) -> None:
    def slow(out: Path) -> None:
        done.put("began")
        time.sleep(0.3)
        (out / "text").write_text("x")
        done.put("ended")

    make(Workspace(folder), make=slow)


def test_two_processes_make_one_step_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    done = context.Queue()
    both = [context.Process(target=_hold, args=(tmp_path, done)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [done.get(timeout=5) for _ in range(2)] == ["began", "ended"]
    assert done.empty()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from jetlane.tasks.workspace import Workspace
        with Workspace(Path({str(tmp_path)!r})).lock("training"):
            print("held", flush=True)
            time.sleep(60)
    """)
    import subprocess

    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waited: list[str] = []

    def end_it() -> None:
        waited.append("waited")
        os.kill(holder.pid, signal.SIGKILL)

    with Workspace(tmp_path).lock("training", on_wait=end_it):
        assert waited == ["waited"]
    holder.wait()
    holder.stdout.close()


def test_a_workspace_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        Workspace(tmp_path / "file" / "workspace")
