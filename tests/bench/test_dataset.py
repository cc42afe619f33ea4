"""What bench.dataset measures on: photographs that jetlane takes as they are, and memory of whole families."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))


def test_photographs_are_written_as_they_are_and_one_changed_is_one(tmp_path, monkeypatch, repository):
    from bench import dataset
    from bench.photos import coco_set, set_files

    from jetlane.tasks.data.records import read_records

    annotations, images = coco_set(tmp_path / "set", 8, width=200, height=150)
    assert (annotations, images) == set_files(tmp_path / "set")
    monkeypatch.chdir(repository)
    (tmp_path / "state").mkdir()
    written = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        figures = dataset.run("bench.write_coco", annotations, images, tmp_path / name, tmp_path / "state")
        assert figures["images"] == 8 and 0 < figures["write_seconds"] < figures["seconds"] and figures["peak"] > 1e7
        written.append({payload for path in (tmp_path / name).glob("*.record-*") for payload in read_records(path)})
        dataset.change_one(images)
    assert all(any(path.read_bytes() in payload for payload in written[1]) for path in sorted(images.iterdir())[1:])
    assert len(written[0] & written[1]) == 7 and len(written[0]) == len(written[1]) == 8


def test_a_family_is_a_process_and_all_below_it():
    from bench.memory import family, held

    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert {os.getpid(), child.pid} <= set(family(os.getpid()))
        assert held(os.getpid()) > 1e6
    finally:
        child.communicate(b"\n")
    assert held(child.pid) == 0
