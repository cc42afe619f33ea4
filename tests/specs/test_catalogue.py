"""The catalogue of errors: each message finds its own entry, and the page says what the catalogue says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jetlane.specs.catalogue import STAGES, Entry, entries, match
from jetlane.specs.troubleshooting import document


@pytest.mark.parametrize("found", entries(), ids=lambda found: found.id)
def test_every_message_is_answered_by_its_own_entry_first(found: Entry) -> None:
    assert found.stage in STAGES and found.cause and found.remedy
    assert bool(found.messages) == bool(found.patterns)
    for message in found.messages:
        assert match(message)[0] is found
        assert match(f"[TensorRT] INFO: something\n{message}\n[TensorRT] INFO: more")[0] is found
        for other in (message.lower(), message.upper()):  # versions differ in capitals
            assert match(other)[0] is found


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("[TRT] [E] 2: [virtualMemoryBuffer.cpp::resizePhysical::161] Error Code 2: OutOfMemory (no", "out-of-memory"),
        ("[TensorRT] ERROR: CUDA initialization failure with error 222. Please check your CUDA installation", "no-gpu"),
        ("nmsPlugin.cpp:508: Assertion `numPriors*numLocClasses*nbBoxCoordinates == C1' failed.", "prior-count"),
        ("Assertion failed: numPriors * param.numClasses == inputDims[param.inputOrder[1]].d[0]", "class-count"),
        ("$ python3 -c 'import numpy'\nIllegal instruction\n", "illegal-instruction"),
    ],
)
def test_lines_of_other_versions_are_answered(line: str, entry: str) -> None:
    assert match(line)[0].id == entry


def test_ids_are_names_of_their_own() -> None:
    names = [found.id for found in entries()]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_a_line_that_is_no_error_matches_nothing() -> None:
    assert match("[TensorRT] INFO: Detected 1 inputs and 2 output network tensors.") == []


def test_page_is_made_from_the_catalogue(repository: Path) -> None:
    page = (repository / "docs" / "troubleshooting.md").read_text()
    assert page == document(), "make it again: python -m jetlane.specs.troubleshooting > docs/troubleshooting.md"
    for found in entries():
        assert all(message in page for message in found.messages)
