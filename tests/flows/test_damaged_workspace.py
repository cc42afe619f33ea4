"""Damaged outputs in a workspace are made again and never get into a release; a full disk is an error that says so."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import small_disk
from tests.flows.small_spec import write_spec

from jetlane.remote.release.folder import read_release

pytestmark = pytest.mark.prefect

STEPS = ("dataset", "train", "evaluate", "export", "plugins", "convert", "preflight", "release", "report")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, fake_odapi: Path, flows: Any) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("damage")
    return folder, flows.run(write_spec(folder, "damage", fake_odapi))


def outputs(folder: Path, step: str) -> list[Path]:
    """All files of a finished step, its manifest among them."""
    places = (folder / ".jetlane" / "steps" / step).glob("*")
    found = [path for place in places if place.suffix == "" for path in place.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.name != "verified.json")


def content(release: Path) -> dict[str, bytes]:
    return {path.relative_to(release).as_posix(): path.read_bytes() for path in release.rglob("*") if path.is_file()}


def vouch_for(victim: Path, step: Path) -> None:
    """Make the note of a step answer for a file as it is now: no test can change content and leave the inode's time."""
    note, found = json.loads((step / "verified.json").read_text()), os.stat(victim)
    stamp = [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, time.time()]
    note["files"][victim.relative_to(step).as_posix()] = stamp
    (step / "verified.json").write_text(json.dumps(note))


def flip_a_bit(ran: tuple[Path, dict[str, Any]], step: str, choice: random.Random) -> None:
    """In any output of a step; the file's times do not change."""
    folder, first = ran
    files = outputs(folder, step)
    if step == "report":  # those of the runs that made something again are there too, and are not looked at
        files = [path for path in files if path.is_relative_to(Path(first["report"]).parent)]
    victim = choice.choice(files)
    damaged = bytearray(victim.read_bytes() or b"\0")
    damaged[choice.randrange(len(damaged))] ^= 1 << choice.randrange(8)
    times, mode = victim.stat(), victim.stat().st_mode
    victim.chmod(0o600)
    victim.write_bytes(damaged)
    victim.chmod(mode)
    os.utime(victim, ns=(times.st_atime_ns, times.st_mtime_ns))


def run_makes_again(ran: tuple[Path, dict[str, Any]], flows: Any, step: str) -> None:
    folder, first = ran
    outcome = flows.run(folder / "spec.yaml")
    assert outcome.get("steps", outcome)[step] == "made", outcome
    assert outcome["release"] == first["release"]
    read_release(Path(outcome["release_path"]))
    if step != "report":
        page = Path(outcome["report"]).read_text()
        assert f"{step} is made again: steps/{step}/" in page and "cannot be used" in page


@pytest.mark.parametrize("step", STEPS)
def test_a_flipped_bit_of_any_output_is_found_and_never_signed(
    ran: tuple[Path, dict[str, Any]], flows: Any, step: str
) -> None:
    signed = content(Path(ran[1]["release_path"]).resolve())
    flip_a_bit(ran, step, random.Random(step))
    run_makes_again(ran, flows, step)
    assert content(Path(ran[1]["release_path"]).resolve()) == signed


def test_after_the_repairs_nothing_is_left_to_do(ran: tuple[Path, dict[str, Any]], flows: Any) -> None:
    assert flows.run(ran[0] / "spec.yaml")["changed"] is False


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(choice=st.randoms(use_true_random=False))
def test_a_flipped_bit_at_length(
    ran: tuple[Path, dict[str, Any]], flows: Any, step: str, choice: random.Random
) -> None:
    signed = content(Path(ran[1]["release_path"]).resolve())
    flip_a_bit(ran, step, choice)
    run_makes_again(ran, flows, step)
    assert content(Path(ran[1]["release_path"]).resolve()) == signed
    assert flows.run(ran[0] / "spec.yaml")["changed"] is False


def test_a_model_that_was_damaged_under_a_stamp_gets_into_no_release(
    ran: tuple[Path, dict[str, Any]], flows: Any, tmp_path: Path, fake_odapi: Path
) -> None:
    """As on a disk that decays: content changes, no time does. The release is made anew, of a model that is."""
    folder = ran[0]
    workspace = folder / ".jetlane"
    release, model = Path(ran[1]["release_path"]).resolve(), outputs(folder, "convert")
    victim = next(path for path in model if path.name == "model.onnx")
    good = victim.read_bytes()
    victim.write_bytes(good[:1000] + bytes([good[1000] ^ 4]) + good[1001:])
    vouch_for(victim, victim.parent)
    shutil.rmtree(release.parent)
    outcome = flows.run(folder / "spec.yaml")
    assert outcome["release"] == ran[1]["release"] and outcome["steps"]["convert"] == "made", outcome
    made = Path(outcome["release_path"]).resolve()
    assert (made / "model.onnx").read_bytes() == good and workspace in made.parents
    read_release(made)
    page = Path(outcome["report"]).read_text()
    assert "model.onnx is not what it was (by its sha256)" in page


def test_a_whole_verification_hashes_what_no_time_shows(ran: tuple[Path, dict[str, Any]], flows: Any) -> None:
    folder = ran[0]
    victim = next(path for path in outputs(folder, "train") if path.name.endswith(".index"))
    good = victim.read_bytes()
    victim.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    vouch_for(victim, victim.parent.parent)
    assert flows.run(folder / "spec.yaml")["changed"] is False, "the stamp answers for it"
    outcome = flows.run(folder / "spec.yaml", verify=True)
    assert outcome["steps"]["train"] == "made" and victim.read_bytes() == good


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk.mounted(tmp_path / "disk", "100m") as place:
        yield place


def test_a_run_on_a_disk_that_fills_explains_itself_and_goes_on_later(
    tmp_path: Path, disk: Path, fake_odapi: Path, flows: Any
) -> None:
    spec = write_spec(tmp_path, "damage", fake_odapi, workspace=str(disk / "workspace"))
    (disk / "workspace").mkdir()
    kinds = []
    for leave in (0, 28, 124, 500, 8_000, 16_000, 24_000):
        small_disk.fill(disk, leave << 10)
        outcome = flows.run(spec)
        kinds.append(outcome.get("kind"))
        if "kind" in outcome:
            assert "No space left on device" in outcome["error"] and "Traceback" not in outcome["error"], outcome
    assert kinds[0] == "WorkspaceError", kinds
    small_disk.make_room(disk)
    outcome = flows.run(spec)
    read_release(Path(outcome["release_path"]))
    assert flows.run(spec)["changed"] is False


@pytest.mark.parametrize("leave", [200, pytest.param(0, marks=pytest.mark.slow)])
def test_the_command_on_a_full_disk_exits_with_1_and_says_why(
    tmp_path: Path, disk: Path, fake_odapi: Path, leave: int
) -> None:
    write_spec(tmp_path, "damage", fake_odapi, workspace=str(disk / "workspace"))
    small_disk.fill(disk, leave << 10)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-m", "jetlane", "run", "spec.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr + done.stdout, done.stderr
    assert "No space left on device" in done.stderr and f"{disk}" in done.stderr and "make room" in done.stderr


def test_an_input_that_changes_while_the_run_reads_it_stops_the_run(
    tmp_path: Path, golden_model: Path, flows: Any
) -> None:
    """Here by the interpreter that looks at the images: the pictures change while it does."""
    from PIL import Image

    picture = tmp_path / "one.png"
    Image.new("RGB", (64, 64), (255, 0, 0)).save(picture)
    graph = tmp_path / "frozen_inference_graph.pb"
    for name in (graph.name, "pipeline.config"):
        shutil.copyfile(golden_model / name, tmp_path / name)
    fake_odapi = (Path(__file__).parent / "fake_odapi.py").read_text().replace("GOLDEN_MODEL", str(golden_model))
    touch = f'    with open({str(picture)!r}, "ab") as file:\n        file.write(b"more")\n'
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\n" + fake_odapi.replace('    hang("infer")\n', touch))
    python.chmod(0o755)
    spec = {
        "name": "changing",
        "model": {"frozen_graph": str(graph), "pipeline_config": str(tmp_path / "pipeline.config")},
        "train": {"python": str(python)},
        "verify": {"images": [str(picture)]},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    outcome = flows.run(tmp_path / "spec.yaml")
    assert outcome.get("kind") == "WorkspaceError", outcome
    assert "one.png changed while the run was reading it" in outcome["error"]
    assert not list((tmp_path / ".jetlane" / "steps" / "preflight").iterdir())
