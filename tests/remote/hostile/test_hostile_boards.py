"""Boards that say and do anything: each costs itself, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.remote.hostile import checks
from tests.remote.hostile.cases import generate

from jetlane.remote.fleet.ledger import Ledger

#: Cases of one wave; an honest board is among them.
WAVE = 16
#: Seconds in which the work on one board ends: its deviation's deadline, and all that it does as it should, on a busy
#: machine.
MOST_SECONDS = 60.0
OPTIONS = {"precision": "fp32", "time_limit": 5.0}


def play(count: int, doubles: Any, honest: Any, workshop: Any, book: Ledger) -> None:
    cases = generate(count)
    assert len(set(cases)) == count
    for first in range(0, count, WAVE):
        played = doubles.play(cases[first : first + WAVE], workshop.release, book, OPTIONS, honest)
        checks.check(played, workshop.release, book, workshop.secret, MOST_SECONDS)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("count", [160, pytest.param(10_000, marks=pytest.mark.slow)])
def test_hostile_devices_fail_only_themselves(
    count: int, doubles: Any, honest: Any, workshop: Any, book: Ledger
) -> None:
    play(count, doubles, honest, workshop, book)
