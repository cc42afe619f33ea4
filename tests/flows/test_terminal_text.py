"""What others wrote is shown as it is: rich's markup and emoji codes in it mean nothing."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from jetlane.flows.cli.commands.fleet.tables import _table
from jetlane.flows.cli.live_line import LiveLine
from jetlane.flows.cli.terminal import TerminalRunObserver
from jetlane.tasks.run.facts import MADE, StepFacts

NASTY = "[bold]x[/nope] [link=http://y]z[/link] :boom:"


def test_tables_show_markup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    _table([{"name": "nano-1", "reason": NASTY}], "")
    assert NASTY in capsys.readouterr().out


def test_steps_show_markup_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = TerminalRunObserver()
    monkeypatch.setattr("jetlane.flows.cli.live_line.PLAIN_SECONDS", 0.0)
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
    terminal._line = LiveLine(terminal._console)
    terminal.started("train")
    terminal.update("train", None, NASTY)
    time.sleep(0.3)
    terminal.note("end")
    assert "[bold]x[/nope] [link=http://y]z[/link]" in shown.getvalue()


def test_a_step_that_says_nothing_is_seen_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetlane.flows.cli.live_line.PLAIN_SECONDS", 1.5)
    terminal = TerminalRunObserver()
    terminal.started("export")
    time.sleep(3.5)
    terminal.finished(StepFacts("export", MADE, 3.5, note="done"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("export     TensorFlow starts, and freezes the graph  (2 s)"), lines
    assert lines[-1].endswith("done") and len(lines) <= 3
    time.sleep(2.0)
    assert capsys.readouterr().out == "", "it has ended"
