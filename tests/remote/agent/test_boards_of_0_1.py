"""A release and a board's folder as version 0.1 wrote them: read, verified, switched to, and nothing is built again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.agent import engines
from jetlane.remote.agent.commands import activate, bench, build, garbage, verify
from jetlane.remote.agent.commands.status import status
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.program.detector import Detector
from jetlane.remote.agent.store import Store
from jetlane.remote.release.folder import read_release

#: What is called otherwise since then.
MANIFEST = {"backends": "roads", "activate": "activation"}


def rewritten(file: Path, names: dict[str, str], dropped: tuple[str, ...] = ()) -> None:
    """Write a JSON object again under other names, without some."""
    made = {names.get(name, name): value for name, value in json.loads(file.read_bytes()).items()}
    file.write_text(json.dumps({name: value for name, value in made.items() if name not in dropped}))


@pytest.fixture
def old(tmp_path: Path, make_release: Any) -> Path:
    """A release of 0.1: `roads` and `activation` in its manifest, 12 digits in its id, neither serial nor signature."""
    health = {"command": ["sh", "-c", "echo asked >> asked"], "window_s": 0, "interval_s": 0.1}
    made = make_release(tmp_path / "made", activate={"before": [["touch", "before"]], "health": health})
    rewritten(made / "manifest.json", MANIFEST, ("serial", "project"))
    (made / "manifest.sig").unlink(missing_ok=True)
    raw = (made / "manifest.json").read_bytes()
    assert json.loads(raw)["roads"] and json.loads(raw)["activation"]["before"] == [["touch", "before"]]
    return made.rename(made.parent / f"small-{hashlib.sha256(raw).hexdigest()[:12]}")


@pytest.fixture
def board(tmp_path: Path, old: Path) -> Store:
    """A board on which 0.1 verified that release: its `engine.json`, `state.json` and report."""
    store = Store(str(tmp_path / "root"))
    old.rename(store.path("releases", old.name))
    key = build.build(store, {"release": old.name})["engine"]
    verify.verify(store, {"release": old.name})
    entry = Path(store.path("engines", key, "engine.json"))
    said = json.loads(entry.read_bytes())
    del said["recipe"]["backend"]
    entry.write_text(json.dumps(said))
    assert said["recipe"]["road"] == "cpu"
    rewritten(Path(store.path("reports", old.name + ".json")), {"backend": "road"})
    rewritten(Path(store.path("state.json")), {}, ("digests",))
    return store


def test_a_release_of_0_1_is_read_on_the_workstation(old: Path) -> None:
    found = read_release(old)
    assert found.manifest["backends"]["cpu"] == "model.onnx" and found.manifest["activate"]["before"]


def test_its_engine_is_verified_and_activated_without_another_build(board: Store, old: Path) -> None:
    built = build.build(board, {"release": old.name})
    assert built["cached"] and built["backend"] == "cpu"
    assert activate.activate(board, {"release": old.name})["changed"]
    assert Path(board.path("before")).exists() and Path(board.path("asked")).exists()
    assert verify.verify(board, {"release": old.name})["backend"] == "cpu"
    assert bench.bench(board, {"seconds": 0.01})["backend"] == "cpu"
    garbage.collect(board, {"keep": 1})
    found = status(board, {})
    assert found["current"] == old.name and found["verified"][old.name] == built["engine"] in found["engines"]


def test_its_report_is_shown_under_the_names_of_this_version(board: Store, old: Path) -> None:
    assert "road" in json.loads(Path(board.path("reports", old.name + ".json")).read_bytes())
    activate.activate(board, {"release": old.name})
    report = status(board, {})["report"]
    assert report["backend"] == "cpu" and "road" not in report
    assert status(board, {})["options"][old.name]["precision"] == "fp32"


def test_a_program_loads_the_engine_that_0_1_built(board: Store, old: Path) -> None:
    activate.activate(board, {"release": old.name})
    with Detector(board.root) as detector:
        assert detector.release == old.name


def test_keys_are_those_of_0_1_and_its_runtime_reads_what_is_built_now(board: Store, old: Path) -> None:
    """0.1's key is the digest of a recipe with `road`, which its `jetlane_runtime.py` reads from `engine.json` too."""
    entry = board.path("engines", board.state()["verified"][old.name], "engine.json")
    made = json.loads(Path(entry).read_bytes())
    digest = hashlib.sha256(json.dumps(made["recipe"], sort_keys=True).encode()).hexdigest()
    assert "backend" not in made["recipe"] and made["key"] == digest[:20]
    engine = Path(board.path("engines", made["key"], "engine")).read_bytes()
    recipe = engines.read_entry(board, made["key"])["recipe"]
    with board.build_lock():
        engines.keep(board, made["key"], engine, {"recipe": recipe})
    assert json.loads(Path(entry).read_bytes())["recipe"] == {**made["recipe"], "backend": "cpu"}


def test_the_caches_of_0_1_are_found(board: Store) -> None:
    recipe = {"model": "m", "backend": "uff", "runtime": {"tensorrt": "8.2.1"}, "precision": "int8", "calibration": []}
    recipe["input"] = {}
    wanted = {"model": "m", "calibration": [], "input": {}, "runtime": {"tensorrt": "8.2.1"}, "road": "uff"}
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:20]
    engines.caches(board, recipe).keep_calibration(b"scales")
    assert Path(board.path("caches", f"calibration-{digest}")).exists()


def test_a_config_of_0_1_is_followed_and_one_with_both_names_is_refused(board: Store, old: Path) -> None:
    config = Path(board.path("config.json"))
    config.write_text(json.dumps({"activation": {"before": [["touch", "mine"]], "health": {"command": None}}}))
    activate.activate(board, {"release": old.name})
    assert Path(board.path("mine")).exists() and not Path(board.path("before")).exists()
    config.write_text(json.dumps({"activation": {}, "activate": {}}))
    with pytest.raises(AgentError, match="a thing twice") as failure:
        activate.activate(board, {"release": old.name})
    assert failure.value.kind == "config"
