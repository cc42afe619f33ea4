"""What others wrote is shown as it is: rich's markup and emoji codes in it mean nothing."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from jetlane.flows.cli.commands.fleet.tables import _table
from jetlane.flows.cli.terminal import TerminalRunObserver
from jetlane.tasks.run.facts import MADE, StepFacts

NASTY = "[bold]x[/nope] [link=http://y]z[/link] :boom:"


def test_tables_show_markup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    _table([{"name": "nano-1", "reason": NASTY}], "")
    assert NASTY in capsys.readouterr().out


def test_steps_show_markup_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = TerminalRunObserver()
    monkeypatch.setattr("jetlane.flows.cli.terminal.PLAIN_SECONDS", 0.0)
    terminal.started("train")
    capsys.readouterr()
    terminal.update("train", 0.5, NASTY)
    terminal.finished(StepFacts("train", MADE, 1.0, note=NASTY))
    terminal.note(NASTY)
    assert capsys.readouterr().out.count(NASTY) == 3


def test_the_live_line_shows_markup_as_text() -> None:
    terminal = TerminalRunObserver()
    shown = io.StringIO()
    terminal._console = Console(file=shown, force_terminal=True, width=200, highlight=False)
    terminal._live = terminal._console.status("")
    with terminal:
        terminal.started("train")
        terminal.update("train", None, NASTY)
        time.sleep(0.3)
        terminal.note("end")
    assert "[bold]x[/nope] [link=http://y]z[/link]" in shown.getvalue()


def test_a_pipe_gets_a_line_every_half_minute_with_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jetlane.flows.cli.terminal.PLAIN_SECONDS", 0.5)
    with TerminalRunObserver() as terminal:
        terminal.started("evaluate")
        terminal._began -= 60
        time.sleep(1.3)  # nothing is told, and a line comes all the same
        terminal.update("evaluate", 0.25, "image 10 of 40")
        time.sleep(1.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("evaluate    TensorFlow starts, and measures the checkpoint") and "(1:01)" in lines[0]
    assert lines[-1].startswith("evaluate    25 %  image 10 of 40  (1:0") and ", about 3:0" in lines[-1]
    assert 2 <= len(lines) <= 3
