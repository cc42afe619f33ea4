"""Content-addressed steps: made once, made whole, made again exactly when something they depend on changed."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.specs.errors import WorkspaceError
from jetlane.tasks.run import digests
from jetlane.tasks.run.workspace import DamagedOutput, StepResult, Workspace, digest_of, sha256_file


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
        from jetlane.tasks.run.workspace import Workspace
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


def chain(workspace: Workspace, text: str = "x" * 100) -> tuple[StepResult, StepResult]:
    """Two steps, the second made of the first one's output."""
    first = make(workspace, text=text)

    def copy(out: Path) -> None:
        (out / "copy").write_bytes(first.file("folder/text").read_bytes())

    inputs = {"text": first.digest("folder/text")}
    return first, workspace.step("second", inputs=inputs, params={}, code=("jetlane.specs.errors",), make=copy)


def flip(path: Path, bit: int) -> None:
    """Flip one bit in place; size and times stay, as where a disk decays."""
    times = path.stat()
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@given(bit=st.integers(0, 10**6), victim=st.sampled_from(["folder/text", "manifest.json", "verified.json"]))
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_is_never_taken_for_whole(bit: int, victim: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        told: list[str] = []
        workspace = Workspace(Path(folder), tell=told.append)
        result = make(workspace, text="x" * 50)
        flip(result.file(victim), bit)
        again = make(workspace, text="x" * 50)
        assert again.file("folder/text").read_text() == "x" * 50 and again.facts == {"length": 50}
        assert again.cached == (victim == "verified.json") == (told == []), told
        assert make(workspace).cached


def test_a_damaged_output_is_named_when_it_is_made_again(tmp_path: Path) -> None:
    told: list[str] = []
    workspace = Workspace(tmp_path, tell=told.append)
    result = make(workspace)
    flip(result.file("folder/text"), 3)
    assert not make(workspace).cached
    place = f"steps/step/{result.key}"
    why = "its file folder/text is not what was written (by its sha256)"
    assert told == [f"step is made again: {place} cannot be used, {why}"]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were hashed."""
    names: list[str] = []
    real = digests.safe_files.sha256_file
    monkeypatch.setattr(
        digests, "safe_files", SimpleNamespace(sha256_file=lambda path: names.append(Path(path).name) or real(path))
    )
    return names


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the two seconds pass in which a stamp proves nothing."""
    monkeypatch.setattr(digests, "_SETTLED_NS", 0)
    time.sleep(0.02)


def test_an_unchanged_file_is_hashed_once_a_day(
    tmp_path: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path)
    make(workspace), settle(monkeypatch), make(workspace)
    hashed.clear()
    assert make(workspace).cached and "text" not in hashed
    assert make(Workspace(tmp_path, verify=True)).cached and "text" in hashed
    hashed.clear()
    assert make(workspace, leaves=True).cached and "text" in hashed
    hashed.clear()
    now = time.time()
    for later, again in ((86_000, False), (86_500, True), (-100, True)):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        assert make(workspace).cached and ("text" in hashed) == again, later
        hashed.clear()


def test_a_stamp_of_the_last_two_seconds_proves_nothing(tmp_path: Path, hashed: list[str]) -> None:
    make(Workspace(tmp_path))
    hashed.clear()
    assert make(Workspace(tmp_path)).cached and "text" in hashed


def test_what_is_read_is_hashed_before_anything_is_made_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that decays changes no stamp; nothing is made of it all the same, and the step before is made again."""
    workspace = Workspace(tmp_path)
    first, second = chain(workspace)
    settle(monkeypatch)
    make(workspace, text="x" * 100)
    found = make(workspace, text="x" * 100)
    assert found.cached
    flip(first.file("folder/text"), 5)
    shutil.rmtree(second.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            digests, "stamp_of", lambda path, real=digests.stamp_of: STAMPS.get(Path(path).name) or real(path)
        )
        note = json.loads((first.path / "verified.json").read_text())
        STAMPS["text"] = tuple(note["files"]["folder/text"][:4])
        with pytest.raises(DamagedOutput, match="is not what it was") as caught:
            chain(workspace)
        assert str(first.file("folder/text")) in caught.value.what and not second.path.exists()
        again, copied = chain(workspace)
    assert not again.cached and copied.file("copy").read_text() == "x" * 100


STAMPS: dict[str, tuple[int, ...]] = {}


@pytest.mark.parametrize("resumable", [False, True])
@pytest.mark.parametrize("fails", [False, True])
def test_an_input_that_changes_under_way_is_found(tmp_path: Path, resumable: bool, fails: bool) -> None:
    graph = tmp_path / "graph.pb"
    graph.write_text("one")

    def read(out: Path) -> None:
        (out / "made").write_text(graph.read_text())
        graph.write_text("two")
        if fails:
            raise ValueError("cannot be read")

    workspace = Workspace(tmp_path / "workspace")
    inputs = {"files": digest_of({"graph": [sha256_file(graph)]})}
    with pytest.raises(WorkspaceError, match=r"graph\.pb changed while the run was reading it") as caught:
        make(workspace, make=read, inputs=inputs, resumable=resumable)
    assert isinstance(caught.value.__cause__, ValueError) == fails
    assert not list((workspace.root / "steps" / "step").iterdir())


def test_an_output_is_read_only_as_it_was_written(tmp_path: Path) -> None:
    result = make(Workspace(tmp_path))
    assert result.read("folder/text") == b"x"
    flip(result.file("folder/text"), 0)
    with pytest.raises(DamagedOutput):
        result.read("folder/text")
    result.file("folder/text").unlink()
    with pytest.raises(DamagedOutput, match="cannot be read"):
        result.read("folder/text")


def as_of_old(result: StepResult, only_sizes: bool) -> None:
    """The manifest as version 0.1 wrote it."""
    manifest = json.loads((result.path / "manifest.json").read_text())
    del manifest["sha256"]
    for entry in manifest["outputs"].values() if only_sizes else ():
        del entry["sha256"]
    (result.path / "manifest.json").write_text(json.dumps(manifest))
    (result.path / "verified.json").unlink(missing_ok=True)


@pytest.mark.parametrize("only_sizes", [False, True])
def test_of_an_old_workspace_what_is_dear_is_taken_over_and_the_rest_made_again(
    tmp_path: Path, only_sizes: bool
) -> None:
    told: list[str] = []
    workspace = Workspace(tmp_path, tell=told.append)
    as_of_old(make(workspace, resumable=True), only_sizes)
    taken = make(workspace, resumable=True)
    assert taken.cached and dict(taken.outputs) == {"folder/text": hashlib.sha256(b"x").hexdigest()}
    assert "taken over from an earlier version" in told[0]
    assert make(workspace, resumable=True).cached and len(told) == 1, "from now on it is vouched for"
    as_of_old(taken, only_sizes)
    assert not make(workspace).cached and "an earlier version of jetlane made it" in told[1]


def test_a_damaged_training_is_kept_aside(tmp_path: Path) -> None:
    told: list[str] = []
    workspace = Workspace(tmp_path, tell=told.append)
    result = make(workspace, resumable=True)
    flip(result.file("folder/text"), 0)
    assert not make(workspace, resumable=True).cached
    kept = result.path.with_name(result.key + ".damaged")
    assert str(kept) in told[0] and (kept / "folder" / "text").read_text() == "y"
