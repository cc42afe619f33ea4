"""What jetlane 0.1 left is read and used: its ledger, inventory, releases, workspace, and what is on its boards.

tests/golden/release-0.1/README.md says how it was made. All goes through the command line.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.golden.unpack import archive

import jetlane
from jetlane.remote.agent.commands import probe

#: Two releases of 0.1: the one that was live, and the one before it, which the board kept.
LIVE, OLDER = "shapes-bc69e245f5e3822e1d1d2051b13c9001", "shapes-19f0691aa40c3c43ec14abab02cc7b32"
OLD_BOARD, NEW_BOARD = "virtual-jetson-1", "virtual-jetson-2"
INVENTORY = ".jetlane/virtual/inventory.yaml"


@pytest.fixture
def site(tmp_path: Path, repository: Path) -> Path:
    """A project as 0.1 left it: spec.yaml, data/, model/ and .jetlane/."""
    folder = archive("release-0.1/site", tmp_path)
    fake = (repository / "tests" / "flows" / "fake_odapi.py").read_text()
    (folder / "python").write_text(f"#!{sys.executable}\n" + fake.replace("GOLDEN_MODEL", str(folder / "model")))
    (folder / "python").chmod(0o755)
    move_to_this_machine(folder / ".jetlane" / "virtual" / OLD_BOARD / "home" / "jetlane")
    return folder


def move_to_this_machine(home: Path) -> None:
    """The board's engine as if 0.1 had built it here: its key is a digest of the processor and of onnxruntime too."""
    (entry,) = home.glob("engines/*/engine.json")
    made = json.loads(entry.read_text())
    assert key_of_0_1(made["recipe"]) == made["key"]
    here = {"onnxruntime": version("onnxruntime"), "processor": probe.processor(), "machine": platform.machine()}
    made["recipe"]["runtime"] = here
    key = key_of_0_1(made["recipe"])
    engine = optimised(next(path for path in home.glob("releases/*/*.onnx") if sha256(path) == made["recipe"]["model"]))
    entry.with_name("engine").write_bytes(engine)
    renamed = {made["key"]: key, made["sha256"]: hashlib.sha256(engine).hexdigest()}
    made.update(size=len(engine))
    entry.write_text(json.dumps(made))
    for path in (entry, home / "state.json", *home.glob("reports/*.json"), home / "build" / "job.json"):
        text = path.read_text()
        for there, mine in renamed.items():
            text = text.replace(there, mine)
        path.write_text(text)
    entry.parent.rename(entry.parent.with_name(key))


def optimised(model: Path) -> bytes:
    """The engine that the CPU backend makes of a model: one of another processor may not run here."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        settings.optimized_model_filepath = str(Path(folder, "engine.onnx"))
        onnxruntime.InferenceSession(str(model), settings, providers=["CPUExecutionProvider"])
        return Path(settings.optimized_model_filepath).read_bytes()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def key_of_0_1(recipe: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:20]


@pytest.fixture
def boards(site: Path) -> Iterator[Path]:
    """The project with its boards switched on: the old one with what 0.1 put on it, and a second one, empty."""
    run(site, "virtual-device", "start", "--count", "2")
    yield site
    run(site, "virtual-device", "stop")


def run(site: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-m", "jetlane", *arguments]
    done = subprocess.run(command, cwd=site, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def as_json(site: Path, *arguments: str) -> Any:
    return json.loads(run(site, *arguments, "--json"))


def live_on(site: Path, device: str) -> str:
    """The release that a board says it runs."""
    found = re.search(r"^current +(\S+)$", run(site, "device", "status", device, "--inventory", INVENTORY), re.M)
    assert found is not None
    return found[1]


def test_the_ledger_is_read(site: Path) -> None:
    history = as_json(site, "fleet", "history")
    assert [(row["operation"], row["state"]) for row in history] == [
        ("rollout", "succeeded"),
        ("rollback", "succeeded"),
        ("rollout", "stopped"),
        ("rollout", "succeeded"),
        ("rollout", "succeeded"),
    ]
    devices = {row["device"]: row for row in as_json(site, "fleet", "status")}
    assert {name: row["state"] for name, row in devices.items()} == {
        "bench-nano": "unreachable",
        OLD_BOARD: "active",
        NEW_BOARD: "active",
    }
    assert devices[OLD_BOARD]["runs"] == LIVE
    stopped = next(row["rollout"] for row in history if row["state"] == "stopped")
    of_it = as_json(site, "fleet", "status", stopped)
    assert "bench-nano" in json.dumps(of_it)
    assert len(as_json(site, "fleet", "audit")) > 20
    run(site, "fleet", "ledger", "check")


def test_the_inventory_is_read(site: Path) -> None:
    listed = run(site, "inventory", "list", "--inventory", ".jetlane/virtual/fleet.yaml")
    assert all(name in listed for name in (OLD_BOARD, "bench-nano", NEW_BOARD))


@pytest.mark.parametrize("release", [LIVE, OLDER])
def test_releases_are_read(site: Path, release: str) -> None:
    read = jetlane.read_release(site / ".jetlane" / "releases" / release)
    assert read.id == release and read.signed_by is not None
    assert read.labels == ["circle", "square", "triangle"] and sum(map(len, read.expected)) > 0


def test_a_release_goes_to_the_old_board_and_to_a_fresh_one(boards: Path) -> None:
    assert live_on(boards, OLD_BOARD) == LIVE
    engines = boards / ".jetlane" / "virtual" / OLD_BOARD / "home" / "jetlane" / "engines"
    built = {path: path.stat().st_mtime_ns for path in engines.rglob("engine")}
    said = run(boards, "fleet", "rollout", LIVE, "--to", INVENTORY)
    assert re.search(rf"{OLD_BOARD}: active \(.*nothing to do", said), said
    assert {path: path.stat().st_mtime_ns for path in engines.rglob("engine")} == built
    assert live_on(boards, NEW_BOARD) == LIVE

    run(boards, "rollback", "--to", INVENTORY, "--device", OLD_BOARD)
    assert live_on(boards, OLD_BOARD) == OLDER
    assert as_json(boards, "fleet", "history")[0]["operation"] == "rollback"
    run(boards, "fleet", "rollout", LIVE, "--to", INVENTORY)
    assert live_on(boards, OLD_BOARD) == LIVE


@pytest.mark.prefect
def test_the_workspaces_next_run_works_and_says_what_it_makes_anew(site: Path) -> None:
    first = run(site, "run", "spec.yaml")
    steps = dict(re.findall(r"^(\w+) +(made|cached|decided|unchanged)\b", first, re.M))
    assert set(steps) >= {"dataset", "train", "gate", "convert", "preflight", "release", "deploy"}
    assert f"the live release {LIVE}" in first, first  # the notes of what is live and what it was worth
    assert steps["deploy"] in ("made", "unchanged") and steps["release"] in ("made", "cached")
    again = run(site, "run", "spec.yaml")
    assert "nothing has changed: no training, no conversion, no upload, no build" in again
