"""Serials rise, whatever happens to the clock, the workspace or the file they are kept in."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_700_000_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_they_rise_and_belong_to_a_content(tmp_path: Path, clock: list[float]) -> None:
    serials = Serials(Workspace(tmp_path), "cats")
    assert [serials.of(content) for content in "abcab"] == [1_700_000_000 + number for number in (0, 1, 2, 0, 1)]
    clock[0] += 100
    assert serials.of("d") == 1_700_000_100
    clock[0] = 0.0
    assert serials.of("e") == 1_700_000_101, "a clock that was put back changes nothing"
    assert Serials(Workspace(tmp_path), "cats").of("b") == 1_700_000_001, "they are kept"
    assert Serials(Workspace(tmp_path), "dogs").of("b") == 1, "every project counts for itself"


def test_a_lost_workspace_goes_on_above_the_old_one(tmp_path: Path, clock: list[float]) -> None:
    old = [Serials(Workspace(tmp_path / "old"), "cats").of(content) for content in "abc"]
    clock[0] += 60
    assert Serials(Workspace(tmp_path / "new"), "cats").of("a") > max(old)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"highest": "x"}', '{"highest": 7, "renewals": 1}'])
def test_a_damaged_file_is_no_hindrance(tmp_path: Path, clock: list[float], content: str) -> None:
    serials = Serials(Workspace(tmp_path), "cats")
    before = serials.of("a")
    serials.path.write_text(content)
    clock[0] += 60
    assert serials.of("b") > before and serials.renewals == 0


def test_renewed_serials_are_higher(tmp_path: Path, clock: list[float]) -> None:
    serials = Serials(Workspace(tmp_path), "cats")
    first = serials.of("a")
    serials.renew()
    assert serials.renewals == 1 and serials.of("a") > first
    serials.renew(above=5_000_000_000)
    assert serials.renewals == 2 and serials.of("a") == 5_000_000_001


def test_runs_at_once_get_serials_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda content: Serials(workspace, "cats").of(str(content)), range(24)))
    assert len(set(given)) == 24
