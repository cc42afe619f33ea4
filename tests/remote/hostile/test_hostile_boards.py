"""Boards that say and do anything: each costs itself, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.remote.hostile import checks
from tests.remote.hostile.cases import CASES
from tests.remote.hostile.double import Case

from jetlane.remote.fleet.ledger import Ledger

#: Cases of one wave; one honest board is among them.
WAVE = 16
#: Seconds in which the work on one board ends: its departure's deadline, and all that it does as it should, on a busy
#: machine.
MOST_SECONDS = 60.0

_waves = st.lists(CASES, min_size=WAVE, max_size=WAVE)


def _settings(waves: int) -> Any:
    return settings(
        max_examples=waves,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.generate],  # a failure names its case; to make it smaller takes minutes
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.usefixtures("impatient")
class TestCases:
    def run(self, wave: Any, doubles: Any, workshop: Any, book: Ledger) -> None:
        cases = [Case(departure, way) for way, departure in wave]
        cases.insert(WAVE // 2, Case(None))
        played = doubles.play(cases, workshop.release, book, {"precision": "fp32", "time_limit": 4.0})
        checks.check(played, workshop.release, book, workshop.secret, MOST_SECONDS)

    @_settings(19)
    @given(wave=_waves)
    def test_300_hostile_boards_cost_themselves_alone(
        self, wave: Any, doubles: Any, workshop: Any, book: Ledger
    ) -> None:
        self.run(wave, doubles, workshop, book)

    @pytest.mark.slow
    @_settings(625)
    @given(wave=_waves)
    def test_10000_hostile_boards_cost_themselves_alone(
        self, wave: Any, doubles: Any, workshop: Any, book: Ledger
    ) -> None:
        self.run(wave, doubles, workshop, book)
