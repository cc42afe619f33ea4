"""An engine that is not what it should be leaves its key, whatever brought it there; the next build makes it anew."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.remote import models
from tests.remote.agent.doubles import plan_of
from tests.remote.agent.power_cut import power_for

from jetlane.remote.agent import engines, recipes
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.commands import activate, bench, build, garbage, verify
from jetlane.remote.agent.commands.probe import probe
from jetlane.remote.agent.commands.status import status
from jetlane.remote.agent.detect import onnxruntime_backend as cpu
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store


class Board:
    """An agent's folder with one release."""

    def __init__(self, root: Path, release: Path) -> None:
        self.root, self.store, self.release = root, Store(str(root)), release.name
        self.bring(release)

    def bring(self, release: Path) -> None:
        """As a delivery does: whatever was there of it before."""
        shutil.rmtree(self.root / "releases" / release.name, ignore_errors=True)
        shutil.copytree(release, self.root / "releases" / release.name)

    def key(self, release: str = "") -> str:
        return recipes.key_of(self.recipe(release))

    def recipe(self, release: str = "") -> dict[str, Any]:
        manifest = self.store.manifest(release or self.release)
        return recipes.recipe(manifest, "cpu", probe(self.store), recipes.options_of({}))

    def put(self, engine: bytes) -> None:
        """Have these bytes under the key of the release's engine, as an agent that hashed nothing left them."""
        engines.keep(self.store, self.key(), engine, {"recipe": self.recipe(), "seconds": 1.0})

    def build(self, release: str = "") -> dict[str, Any]:
        return build.build(self.store, {"release": release or self.release})

    def verify(self, release: str = "") -> dict[str, Any]:
        return verify.verify(self.store, {"release": release or self.release})

    def activate(self, release: str = "") -> dict[str, Any]:
        return activate.activate(self.store, {"release": release or self.release})

    @property
    def aside(self) -> Path:
        return self.root / "aside" / self.key()


@pytest.fixture
def board(tmp_path: Path, release: Path) -> Board:
    return Board(tmp_path / "root", release)


@pytest.fixture(scope="session")
def other_engine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole engine, of another model."""
    model = tmp_path_factory.mktemp("other") / "model.onnx"
    model.write_bytes(models.small_model(1))
    return plan_of(cpu, model, {}, {}, lambda note: None)


def test_an_engine_that_disagrees_leaves_its_key_and_the_next_build_makes_another(
    board: Board, other_engine: bytes
) -> None:
    board.put(other_engine)
    assert board.build()["cached"], "its damage is not seen yet"
    for name in ("timing", "calibration"):
        getattr(engines.caches(board.store, board.recipe()), f"keep_{name}")(b"made with it")
    with pytest.raises(AgentError) as failure:
        board.verify()
    assert failure.value.kind == "disagreement"
    assert f"is kept in aside/{board.key()}" in failure.value.why and "built again" in failure.value.why
    assert (board.aside / "engine").read_bytes() == other_engine
    assert "detections" in json.loads((board.aside / "doubt.json").read_text())["why"]
    assert json.loads((board.root / "reports" / f"{board.release}.json").read_text())["agreed"] is False
    assert status(board.store, {})["engines"] == [] and not list((board.root / "caches").iterdir())
    assert not board.build()["cached"]
    assert board.verify()["agreed"] and board.activate()["changed"]
    garbage.collect(board.store, {"keep": 1})
    assert not list((board.root / "aside").iterdir()) and status(board.store, {})["engines"] == [board.key()]


@pytest.mark.parametrize("engine", [b"", b"no model", b"\x08\x08" * 100], ids=["empty", "text", "protobuf"])
def test_an_engine_that_does_not_load_leaves_its_key(board: Board, engine: bytes) -> None:
    board.put(engine)
    with pytest.raises(AgentError) as failure:
        board.verify()
    assert failure.value.kind in ("build", "engine") and "is kept in aside/" in failure.value.why
    assert not board.build()["cached"] and board.verify()["agreed"]


def test_an_engine_with_other_outputs_leaves_its_key(board: Board, tmp_path: Path) -> None:
    (tmp_path / "heads.onnx").write_bytes(models.heads_model())
    board.put(plan_of(cpu, tmp_path / "heads.onnx", {}, {}, lambda note: None))
    with pytest.raises(AgentError, match="does not run on this board") as failure:
        board.verify()
    assert failure.value.kind == "engine" and not board.build()["cached"] and board.verify()["agreed"]


def test_an_engine_that_ends_the_agent_is_not_tried_for_ever(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    """As a fault in a driver does: the process is gone in the middle of a verification."""
    board.build()
    code = (
        "import os, signal, sys\n"
        "from jetlane.remote.agent.commands import verify\n"
        "from jetlane.remote.agent.detect import onnxruntime_backend as cpu\n"
        "from jetlane.remote.agent.store import Store\n"
        "cpu.load = lambda *_: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "verify.verify(Store(sys.argv[1]), {'release': sys.argv[2]})\n"
    )
    for _ in range(3):
        assert board.build()["cached"], "a power cut or two cost no build"
        done = subprocess.run([sys.executable, "-c", code, board.root, board.release], capture_output=True)
        assert done.returncode == -signal.SIGSEGV, done.stderr.decode()
    capsys.readouterr()
    caches = engines.caches(board.store, board.recipe())
    caches.keep_timing(b"made with it")
    assert not board.build()["cached"] and "3 verifications of it were cut off" in capsys.readouterr().out
    assert caches.timing() is None, "it may be what the engine is like for"
    assert board.aside.is_dir() and board.verify()["agreed"]
    assert not (board.root / "engines" / board.key() / "trial.json").exists() and board.build()["cached"]


def test_what_is_the_boards_fault_costs_no_engine(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    board.build()

    def full(*_: Any) -> Any:
        raise AgentError("there is no memory for the engine", kind="memory")

    with monkeypatch.context() as patch, pytest.raises(AgentError):
        patch.setattr(cpu, "load", full)
        board.verify()
    (board.root / "releases" / board.release / "samples" / "000.npy").chmod(0o600)
    (board.root / "releases" / board.release / "samples" / "000.npy").write_bytes(b"x")
    with pytest.raises(AgentError) as failure:
        board.verify()
    assert failure.value.kind == "tampered" and board.build()["cached"]


# What is hashed is what is used


def test_a_damaged_model_is_not_built(board: Board, release: Path) -> None:
    model = board.root / "releases" / board.release / "model.onnx"
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.chmod(0o600)
    model.write_bytes(content)
    with pytest.raises(AgentError, match=r"model\.onnx of the release was altered") as failure:
        board.build()
    assert failure.value.kind == "tampered" and "damaged files are sent again" in failure.value.remedy
    assert not list((board.root / "engines").iterdir())
    board.bring(release)
    assert not board.build()["cached"] and board.verify()["agreed"] and board.activate()["changed"]


def test_what_a_build_reads_is_what_was_hashed(tmp_path: Path) -> None:
    """However a file is replaced, and with what: the reader gives the manifest's bytes, or nothing."""
    folder = tmp_path / "release"
    (folder / "images").mkdir(parents=True)
    manifest = {"files": {}}  # type: dict[str, Any]
    for path in ("model", "images/1"):
        (folder / path).write_bytes(path.encode())
        digest = hashlib.sha256(path.encode()).hexdigest()
        manifest["files"][path] = {"sha256": digest, "size": len(path)}
    read = manifests.Checked(str(folder), manifest)
    assert read("model") == b"model" and read(str(folder / "images" / "1")) == b"images/1"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "1").write_bytes(b"images/1")

    def link() -> None:
        os.symlink(tmp_path / "outside" / "1", folder / "images" / "1")

    def folder_link() -> None:
        (folder / "images").rmdir()
        os.symlink(tmp_path / "outside", folder / "images")

    for put in (
        lambda: (folder / "images" / "1").write_bytes(b"images/2"),
        lambda: (folder / "images" / "1").write_bytes(b"images/1 and more"),
        lambda: (folder / "images" / "1").write_bytes(b""),
        lambda: None,
        link,
        lambda: os.mkfifo(folder / "images" / "1"),
        folder_link,
    ):
        (folder / "images" / "1").unlink(missing_ok=True)
        put()
        with pytest.raises(AgentError) as failure:
            read("images/1")
        assert failure.value.kind == "tampered"
    for path in ("../outside/1", str(tmp_path / "outside" / "1"), "none", ""):
        with pytest.raises(AgentError, match="none of its files"):
            read(path)


def test_calibration_images_are_hashed_too(put_double: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jetlane.remote.agent.trt import build as trt_build

    put_double("8.6")
    files_, manifest = models.save_images(tmp_path), {"files": {}}
    for file in files_:
        content = (tmp_path / file).read_bytes()
        manifest["files"][file] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    (tmp_path / files_[2]).write_bytes((tmp_path / files_[1]).read_bytes())
    spec = {
        "height": 8, "width": 8, "order": "resize_normalize", "resize": {"kind": "fixed_shape"},
        "normalize": {"scale": [1.0] * 3, "offset": [0.0] * 3},
    }  # fmt: skip
    images = trt_build._images(str(tmp_path), files_, spec, manifests.Checked(str(tmp_path), manifest))
    next(images), next(images)
    with pytest.raises(AgentError, match=r"calibration/002\.npy of the release was altered"):
        next(images)


# Damage


def damage_engine(name: str) -> Callable[[Path], None]:
    def truncated(folder: Path) -> None:
        os.truncate(folder / "engine", (folder / "engine").stat().st_size // 2)

    def flipped(folder: Path) -> None:
        content = bytearray((folder / "engine").read_bytes())
        content[len(content) // 3] ^= 0x10
        (folder / "engine").write_bytes(content)

    def emptied(folder: Path) -> None:
        (folder / "engine").write_bytes(b"")

    def without_its_note(folder: Path) -> None:
        (folder / "engine.json").unlink()

    def garbage_note(folder: Path) -> None:
        (folder / "engine.json").write_bytes(b"[" * 100_000)

    def a_pipe(folder: Path) -> None:
        (folder / "engine").unlink()
        os.mkfifo(folder / "engine")

    def a_file(folder: Path) -> None:
        shutil.rmtree(folder)
        folder.write_bytes(b"x")

    return dict(locals())[name]


DAMAGE = ["truncated", "flipped", "emptied", "without_its_note", "garbage_note", "a_pipe", "a_file"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_plan_is_never_deserialised_and_is_built_anew(
    board: Board, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    board.build()
    board.verify()
    board.activate()
    damage_engine(damage)(board.root / "engines" / board.key())

    def loaded(*_: Any) -> Any:
        raise AssertionError("a damaged engine was given to the runtime")

    with monkeypatch.context() as patch:
        patch.setattr(cpu, "load", loaded)
        for ask in (board.activate, board.verify, lambda: bench.bench(board.store, {"seconds": 0.1})):
            with pytest.raises(AgentError):
                ask()
        with pytest.raises(AgentError, match="is not healthy"):
            activate.health(board.store, {})
        assert status(board.store, {})["engines"] == []
    capsys.readouterr()
    assert not board.build()["cached"]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any("the engine that was here cannot be used" in event.get("note", "") for event in said), said
    assert board.aside.exists() and board.verify()["agreed"] and not board.activate()["changed"]


def test_a_plan_damaged_between_the_look_and_the_loading_is_not_deserialised(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.build()
    engine = board.root / "engines" / board.key() / "engine"
    find = engines.find

    def found(store: Store, key: str) -> Any:
        entry = find(store, key)
        engine.write_bytes(engine.read_bytes()[:-1] + b"x")
        return entry

    with monkeypatch.context() as patch, pytest.raises(AgentError, match="is damaged"):
        patch.setattr(engines, "find", found)
        board.verify()
    assert not board.build()["cached"] and board.verify()["agreed"]


def test_a_release_is_verified_with_one_engine_not_with_whatever_has_its_key(board: Board, other_engine: bytes) -> None:
    board.build()
    board.verify()
    board.activate()
    board.put(other_engine)
    assert status(board.store, {})["verified"] == {}, "a delivery does not take it for done"
    with pytest.raises(AgentError) as failure:
        board.activate()
    assert failure.value.kind == "unverified"
    with pytest.raises(AgentError) as failure:
        board.verify()
    assert failure.value.kind == "disagreement" and not board.build()["cached"] and board.verify()["agreed"]


def test_a_verification_by_0_1_which_noted_no_digest_counts(board: Board) -> None:
    board.build()
    board.verify()
    state = json.loads((board.root / "state.json").read_text())
    del state["digests"]
    (board.root / "state.json").write_text(json.dumps(state))
    assert status(board.store, {})["verified"] == {board.release: board.key()} and board.activate()["changed"]


# An engine that two releases share


def test_the_release_that_runs_keeps_its_engine_until_another_is_there(
    board: Board, make_release: Any, tmp_path: Path
) -> None:
    """Another release of the same model expects other detections: what runs must go on, and be startable."""
    board.build()
    board.verify()
    board.activate()
    engine = board.root / "engines" / board.key() / "engine"
    before = engine.read_bytes()
    twin = make_release(tmp_path, wrong=0.2)
    board.bring(twin)
    assert board.key(twin.name) == board.key() and board.build(twin.name)["cached"]
    with pytest.raises(AgentError, match="does not find on this board") as failure:
        board.verify(twin.name)
    assert f"until it is built again: {board.release} was verified with it" in failure.value.why
    assert engine.read_bytes() == before and activate.health(board.store, {})["healthy"]
    assert not board.activate()["changed"], "it is verified with this very engine"
    assert not board.build(twin.name)["cached"], "the next try builds anew"
    assert board.aside.is_dir() and activate.health(board.store, {})["healthy"]


def test_an_engine_that_took_the_place_of_the_verified_one_does_not_stay_for_its_sake(
    board: Board, other_engine: bytes, make_release: Any, tmp_path: Path
) -> None:
    board.build()
    board.verify()
    board.activate()
    board.put(other_engine)
    twin = make_release(tmp_path, wrong=0.2)
    board.bring(twin)
    with pytest.raises(AgentError) as failure:
        board.verify(twin.name)
    assert "is kept in aside/" in failure.value.why
    assert board.aside.is_dir() and not (board.root / "engines" / board.key()).exists()


# A power cut at every moment


#: Every call of the agent that changes the disk.
CHANGES = [(os, name) for name in ("replace", "unlink", "mkdir", "symlink", "rmdir")]


def test_a_power_cut_while_an_engine_is_set_aside_keeps_no_bad_engine(
    tmp_path: Path, release: Path, other_engine: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path / "root", release)
    board.put(other_engine)
    shutil.copytree(board.root, tmp_path / "copy", symlinks=True)
    for changes in itertools.count():
        shutil.rmtree(board.root)
        shutil.copytree(tmp_path / "copy", board.root, symlinks=True)
        with power_for(monkeypatch, changes, CHANGES) as cut, pytest.raises(AgentError, match="does not find"):
            board.verify()
            pytest.fail("a wrong engine was taken for a right one")
        if cut and board.build()["cached"]:  # it was cut before anything was known of the engine
            with pytest.raises(AgentError, match="does not find"):
                board.verify()
            assert not board.build()["cached"]
        elif not cut:
            assert not board.build()["cached"]
        assert board.verify()["agreed"] and board.activate()["changed"], changes
        if not cut:
            assert changes >= 5
            return
