"""The rooms are those that docs/architecture.md shows, and hold what they are meant to hold."""

from __future__ import annotations

import pytest
from tests import rooms

TOPS = {
    "tasks": "dataset train prune evaluate gate export plugins convert quantize preflight slices release deploy "
    "report run data odapi converter proof models bundle deepstream reporting",
    "flows": "retrain_and_deploy scheduled_retrain watch_data fleet_rollout fleet_site rollback "
    "serving fleet plugin cli",
    "remote": "fleet device ssh release protocol virtual inventory agent",
}


def test_the_tree_is_made_from_the_docstrings() -> None:
    text = rooms.PAGE.read_text()
    assert text == rooms.page(text), "make it again: python tests/rooms.py"


def test_every_room_says_what_it_holds() -> None:
    assert [line for line in rooms.tree().splitlines() if len(line.split()) < 2] == []


@pytest.mark.parametrize("room", TOPS)
def test_the_top_of_a_room_holds_what_is_listed(room: str) -> None:
    assert rooms.tops(room) == set(TOPS[room].split())
