"""What was read before is believed where nothing changed, and read again where something did."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.tasks.data.drawn import irregular
from tests.tasks.data.exporters import EXPORTERS
from tests.tasks.data.flawed_set import flawed_folder

from jetlane.tasks.data import ingest
from jetlane.tasks.data.classes import rules
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.ingest import Plan, plan
from jetlane.tasks.data.prepare import plan_fingerprint
from jetlane.tasks.data.source import LabelledSource


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run begins long after the files were written."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60_000_000_000)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return flawed_folder(tmp_path / "parts", 6)


def source(root: Path, format: str = "voc") -> LabelledSource:
    return LabelledSource([(format, Place(root, shown=f"{format}: {root.name}"))])


def anew(origin: LabelledSource, state: Path) -> Plan:
    """What a run finds that remembers nothing but on which side images stand."""
    fresh = state.parent / "fresh"
    fresh.mkdir(exist_ok=True)
    for path in fresh.iterdir():
        path.unlink()
    shutil.copy(state / "sides.json", fresh)
    return plan(origin, fresh)


def same(one: Plan, other: Plan) -> None:
    assert one.findings == other.findings and one.dropped == other.dropped and one.labels == other.labels
    assert (one.images_read, one.boxes_read) == (other.images_read, other.boxes_read)
    assert plan_fingerprint(one, None) == plan_fingerprint(other, None)
    assert [each.objects for each in one.images] == [each.objects for each in other.images]
    assert [each.facts for each in one.images] == [each.facts for each in other.images]
    assert [each.image for each in one.flawed.images] == [each.image for each in other.flawed.images]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each run looks at."""
    found: list[int] = []
    real = ingest.look_at_all

    def counting(origins, state, others=False):
        found.append(len(origins))
        return real(origins, state, others)

    monkeypatch.setattr(ingest, "look_at_all", counting)
    return found


def test_a_second_run_reads_nothing_and_finds_the_same(
    later: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = counted(monkeypatch)
    first = plan(source(folder), folder.parent / "state")
    again = plan(source(folder), folder.parent / "state")
    assert looked[0] > 0 and looked[1] == 0
    same(first, again)
    same(again, anew(source(folder), folder.parent / "state"))


@pytest.mark.parametrize("name", EXPORTERS)
def test_every_format_is_remembered_as_it_is_read(later: None, name: str, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "data").mkdir()
    EXPORTERS[name](irregular(10), tmp_path / "data")
    origin = source(tmp_path / "data", name.partition("-")[0])
    first = plan(origin, tmp_path / "state")
    same(first, plan(origin, tmp_path / "state"))


def test_an_image_that_changed_is_read_alone(later: None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = folder.parent / "state"
    plan(source(folder), state)
    looked = counted(monkeypatch)
    path = folder / "JPEGImages" / "inverted.jpg"
    path.write_bytes(path.read_bytes()[:700])
    cut = plan(source(folder), state)
    assert looked == [1]
    same(cut, anew(source(folder), state))
    assert any(each.kind == "damaged_image" and "inverted.jpg" in each.message for each in cut.findings)


CHANGES: list[Callable[[Path], object]] = [
    lambda root: (root / "Annotations" / "flat.xml").write_text(
        "<annotation><filename>flat.jpg</filename></annotation>"
    ),
    lambda root: (root / "JPEGImages" / "flat.jpg").unlink(),
    lambda root: (root / "Annotations" / "flat.xml").unlink(),
    lambda root: (root / "JPEGImages" / "more.jpg").write_bytes((root / "JPEGImages" / "flat.jpg").read_bytes()),
    lambda root: (root / "JPEGImages" / "flat.jpg").rename(root / "JPEGImages" / "Flat.jpg"),
]


@pytest.mark.parametrize("change", range(len(CHANGES)))
def test_other_labels_or_files_are_read_anew(later: None, folder: Path, change: int) -> None:
    plan(source(folder), folder.parent / "state")
    CHANGES[change](folder)
    state = folder.parent / "state"
    same(plan(source(folder), state), anew(source(folder), state))


def test_other_rules_are_read_anew(later: None, folder: Path) -> None:
    state = folder.parent / "state"
    plan(source(folder), state)
    for other in (
        replace(source(folder), classes=rules(None, {"circle": "round"}, ["square"], None)),
        replace(source(folder), policy={**source(folder).policy, "inverted": "warn", "over_edge": "drop"}),
        replace(source(folder), max_side=100),
    ):
        same(plan(other, state), anew(other, state))


def test_files_that_were_just_written_are_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = counted(monkeypatch)
    for _ in range(2):
        plan(source(folder), folder.parent / "state")
    assert looked[0] == looked[1] > 0


def test_a_damaged_database_is_begun_anew(later: None, folder: Path) -> None:
    state = folder.parent / "state"
    first = plan(source(folder), state)
    for damage in (b"no database", b""):
        (state / "read.db").write_bytes(damage)
        same(first, plan(source(folder), state))
    with sqlite3.connect(state / "read.db") as database:
        database.execute("UPDATE images SET judged = '[]' WHERE place = 1")
    same(first, plan(source(folder), state))


def test_a_database_that_another_process_holds_stops_nothing(
    later: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = folder.parent / "state"
    plan(source(folder), state)
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path: real(path, timeout=0))
    with real(state / "read.db") as held, real(state / "images.db") as held_too:
        for each in (held, held_too):
            each.execute("BEGIN EXCLUSIVE")
        (folder / "JPEGImages" / "flat.jpg").write_bytes(b"")
        made = plan(source(folder), state)
    same(made, anew(source(folder), state))
