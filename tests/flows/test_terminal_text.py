"""What others wrote is shown as it is: rich's markup and emoji codes in it mean nothing."""

from __future__ import annotations

import io
import re
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from jetlane.flows.cli.commands.fleet.tables import _table
from jetlane.flows.cli.terminal import TerminalRunObserver, waiting
from jetlane.tasks.odapi.client import TrainingProgress
from jetlane.tasks.run.facts import MADE, StepFacts
from jetlane.tasks.train import _Shown

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
    terminal.stop()
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
        terminal.update("evaluate", 1 / 40, "image 1 of 40")
        assert terminal._first is not None
        terminal._first = (time.monotonic() - 30, 1 / 40)  # nothing is known of the rate before it
        terminal.update("evaluate", 10 / 40, "image 10 of 40")
        time.sleep(1.2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("evaluate    TensorFlow starts, and measures the checkpoint") and "(1:01)" in lines[0]
    assert re.fullmatch(r"evaluate    25 %  image 10 of 40, about 1:4\d to go  \(1:0\d\)", lines[-1])
    assert 2 <= len(lines) <= 3


def test_a_pipe_is_told_at_once_what_a_run_waits_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jetlane.flows.cli.terminal._SOON", 0.5)
    with waiting("the server starts") as ready:
        assert capsys.readouterr().out == "the server starts\n"
        ready()
    with TerminalRunObserver() as terminal:
        terminal.wait("the spec is checked", 0.5)  # before the first step
        time.sleep(1.2)
        assert capsys.readouterr().out == "the spec is checked  (0:01)\n"
        terminal.finished(StepFacts("dataset", MADE, 1.0))
        capsys.readouterr()
    time.sleep(1.2)
    assert capsys.readouterr().out == "", "nothing is under way any more"


def test_a_training_tells_its_rate_and_the_time_left_when_they_are_known() -> None:
    told: list[str] = []
    observer = SimpleNamespace(update=lambda step, fraction, text: told.append(text))
    shown = _Shown(SimpleNamespace(observer=observer), SimpleNamespace(reached=lambda step: None), "train")  # type: ignore[arg-type]
    for step, rate, eta in ((101, 0.0, None), (102, 0.01, 49_800.0), (111, 1.4, 349.3)):
        shown.progress(TrainingProgress(step, 600, 4.263, rate, eta))
    assert told == [
        "step 101/600, loss 4.263",
        "step 102/600, loss 4.263",
        "step 111/600, loss 4.263, 1.4 steps/s, about 5:49 to go",
    ]
