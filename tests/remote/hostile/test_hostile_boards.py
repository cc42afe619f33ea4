"""Boards that say and do anything: each costs itself, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from tests.remote.hostile import checks
from tests.remote.hostile.cases import generate
from tests.remote.hostile.double import Case

from jetlane.remote.fleet.ledger import Ledger

#: Cases of one wave; one honest board is among them.
WAVE = 16
#: Seconds in which the work on one board ends: its departure's deadline, and all that it does as it should, on a busy
#: machine.
MOST_SECONDS = 60.0
OPTIONS = {"precision": "fp32", "time_limit": 4.0}


def play(count: int, doubles: Any, workshop: Any, book: Ledger) -> None:
    cases = generate(count)
    assert len(set(cases)) == count
    for first in range(0, count, WAVE):
        wave = cases[first : first + WAVE]
        wave.insert(len(wave) // 2, Case(None))
        played = doubles.play(wave, workshop.release, book, OPTIONS)
        checks.check(played, workshop.release, book, workshop.secret, MOST_SECONDS)


@pytest.mark.usefixtures("impatient")
def test_300_hostile_boards_cost_themselves_alone(doubles: Any, workshop: Any, book: Ledger) -> None:
    play(300, doubles, workshop, book)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_10000_hostile_boards_cost_themselves_alone(doubles: Any, workshop: Any, book: Ledger) -> None:
    play(10_000, doubles, workshop, book)
