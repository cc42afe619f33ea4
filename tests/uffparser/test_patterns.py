"""Every pattern that the converter writes: the parsers make of it what the shipped evidence says."""

from __future__ import annotations

import pytest
from tests.uffparser.make_evidence import AT_ONCE, run_patterns
from tests.uffparser.patterns import FORMS
from tests.uffparser.written import written_pattern

from jetlane.tasks.converter.uff.evidence import record

NAMES = list(FORMS)


@pytest.mark.parametrize("start", range(0, len(NAMES), AT_ONCE))
def test_the_parser_makes_of_it_what_the_evidence_says(version: str, start: int) -> None:
    wanted = [written_pattern(name) for name in NAMES[start : start + AT_ONCE]]
    found = {run.name: run.result for run in run_patterns(version, wanted)}
    assert found == {one.name: record()[one.name][version] for one in wanted}
