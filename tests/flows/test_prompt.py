"""A question on a terminal ends when somebody answers it elsewhere, and nothing stands behind it on its line."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Iterator

import click
import pytest

from jetlane.flows.cli.prompt import confirm


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that standard input is."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours
    os.close(ours)


def test_what_is_typed_counts(keyboard: int, capsys: pytest.CaptureFixture[str]) -> None:
    os.write(keyboard, b"maybe\nyes\n")
    assert confirm("Begin wave 2 of 3?", lambda: False) is True
    assert capsys.readouterr().out == "Begin wave 2 of 3? [y/N]\nsay y or n\n"
    os.write(keyboard, b"\n")
    assert confirm("Begin wave 3 of 3?", lambda: False) is False
    os.write(keyboard, b"\x04")
    with pytest.raises(click.Abort):
        confirm("Begin wave 3 of 3?", lambda: False)


def test_an_answer_from_elsewhere_is_heard_within_a_second(keyboard: int) -> None:
    begun = time.monotonic()
    assert confirm("Begin wave 2 of 3?", lambda: time.monotonic() > begun + 0.3) is None
    assert time.monotonic() < begun + 1.3
