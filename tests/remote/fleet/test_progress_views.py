"""What an operator sees of a rollout: the dashboard, the ledger's follower, the HTML page."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from jetlane.flows.cli.commands.fleet import fleet
from jetlane.flows.cli.dashboard import Dashboard, watching
from jetlane.flows.cli.lines import RolloutLines
from jetlane.remote.fleet import views
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.observer import StageProgress, follow
from jetlane.remote.fleet.rollout import Rollout
from jetlane.remote.fleet.state import RolloutState
from jetlane.specs.schema import Fleet

RELEASE = "new-2"


class Pictures(Dashboard):
    """Draws at every event, as a terminal would from time to time."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[str] = []

    def recorded(self, event: Any, state: Any) -> None:
        super().recorded(event, state)
        if event.data.get("state") == "shipping":
            super().progress(StageProgress(state.id, event.device, "ship", 30e6, 90e6, "bytes", 10.0, "model.uff"))
        self.drawn.append(picture(self))


def picture(dashboard: Dashboard) -> str:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(dashboard)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def rolled(fakes: Any, ledger_url: str) -> Any:
    """A rollout to 22 devices; one disagrees, one was off for a while. Its ledger and what was drawn of it."""
    clock = fakes.SteppedClock()
    boards = {f"nano-{number:02}": fakes.Board() for number in range(22)}
    boards["nano-05"].faults = ["disagreement"]
    boards["nano-07"].off = (0.0, clock.now() + 20.0)
    ledger = fakes.Ledger(ledger_url, clock.now)
    rules = Fleet(max_failures=2, offline_window=600, concurrency=4)
    rollout = create_or_resume(
        ledger, Request({name: f"{name}:22/jetlane" for name in boards}, RELEASE, rules), clock.now
    )
    operations = fakes.Operations(boards, RELEASE, clock)
    pictures = Pictures()
    Rollout(ledger, rollout, operations, observer=pictures, executor=fakes.Inline(), clock=clock).run()
    return ledger, rollout, pictures.drawn


def test_the_dashboard_shows_waves_stages_rates_and_failures(rolled: Any) -> None:
    _, rollout, drawn = rolled
    assert any("shipping" in text and "33 %" in text and "3.0 MB/s" in text and "0:20 left" in text for text in drawn)
    assert any("nano-07" in text and "not reached" in text for text in drawn)
    last = drawn[-1]
    assert rollout in last and RELEASE in last and "incomplete" in last and "22 of 22 devices" in last
    waves = [line.split() for line in last.splitlines() if line.startswith("wave")]
    assert [(row[1], row[3]) for row in waves] == [("1", "1/1"), ("2", "1/1"), ("3", "19/20")]
    assert "nano-05  failed" in last and "does not find what the workstation found" in last
    assert "nano-07" not in last


def test_a_follower_of_the_ledger_sees_the_same_as_the_observer(rolled: Any) -> None:
    ledger, rollout, drawn = rolled
    pictures = Pictures()
    follow(ledger, rollout, pictures)
    assert pictures.drawn[-1].splitlines()[1:] == drawn[-1].splitlines()[1:]


def test_without_a_terminal_lines_are_printed_and_one_now_and_then_of_what_goes_on(
    rolled: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jetlane.flows.cli.terminal.PLAIN_SECONDS", 0.02)
    ledger, rollout, _ = rolled
    events = list(ledger.events(rollout))
    shipping = next(number for number, event in enumerate(events) if event.data.get("state") == "shipping")
    state = RolloutState(rollout)
    with watching(Console(file=io.StringIO())) as watch:
        for event in events[: shipping + 1]:
            state.apply(event)
            watch.observer.recorded(event, state)
        time.sleep(0.5)
    said = capsys.readouterr().out
    assert "wave 1 of 3: 1 device" in said and "\x1b" not in said
    assert "0 of 22 devices" in said and "nano-00 shipping" in said


def test_lines_say_when_it_happened_not_when_it_is_shown(rolled: Any, capsys: pytest.CaptureFixture[str]) -> None:
    ledger, rollout, _ = rolled
    follow(ledger, rollout, RolloutLines())
    lines = capsys.readouterr().out.splitlines()
    events = list(ledger.events(rollout))
    ended = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(events[-1].at))
    assert lines[-1].startswith(f"{ended}  ended: incomplete"), "with the date, as that was not today"
    assert lines[0][:19] <= lines[-1][:19]


def test_a_terminal_gets_lines_and_dashboard_and_none_during_input(rolled: Any) -> None:
    ledger, rollout, _ = rolled
    screen = io.StringIO()
    with watching(Console(file=screen, force_terminal=True, width=120)) as watch:
        follow(ledger, rollout, watch.observer)
        with watch.aside():
            before = len(screen.getvalue())
            time.sleep(0.6)
            assert len(screen.getvalue()) == before
    text = screen.getvalue()
    assert "wave 3 of 3: 20 devices" in text and "19/20" in text


def test_the_page_shows_running_releases_and_failures(rolled: Any, ledger_url: str, tmp_path: Path) -> None:
    _, rollout, _ = rolled
    out = tmp_path / "fleet.html"
    done = CliRunner().invoke(fleet, ["page", "--ledger", ledger_url, "-o", str(out)], catch_exceptions=False)
    assert done.exit_code == 0
    html = out.read_text()
    assert rollout in html and "1 of 22 devices did not take their last release: nano-05" in html
    assert "it does not find what the workstation found" in html
    assert html.count("<code>new-2</code>") >= 21
    assert "why" not in html.partition('id="failures"')[2].partition("</section>")[0], "what, why and remedy apart"
    assert html.count("<script>") == 1 and "http:" not in html and "https:" not in html


def test_a_rollback_by_hand_is_drawn_as_the_success_it_is(
    fakes: Any, ledger_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = fakes.SteppedClock()
    boards = {f"nano-{number}": fakes.Board(current=RELEASE, previous="old-1") for number in range(4)}
    ledger, operations = fakes.Ledger(ledger_url, clock.now), fakes.Operations(boards, RELEASE, clock)

    def roll_back() -> str:
        addresses = {name: f"{name}:22/jetlane" for name in boards}
        request = Request(addresses, "", Fleet(waves=["100%"]), operation="rollback")
        rollback = create_or_resume(ledger, request, clock.now)
        engine = Rollout(ledger, rollback, operations, executor=fakes.Inline(), clock=clock, observer=RolloutLines())
        assert engine.run().outcome == "succeeded"
        return rollback

    def page() -> str:
        out = tmp_path / "fleet.html"
        CliRunner().invoke(fleet, ["page", "--ledger", ledger_url, "-o", str(out)], catch_exceptions=False)
        return out.read_text()

    rollback = roll_back()
    said = capsys.readouterr().out
    assert "wave 1 of 1 ended: 4 rolled back, 0 failed" in said and "nano-3: rolled back (by hand)" in said
    pictures = Pictures()
    follow(ledger, rollback, pictures)
    assert "4/4" in pictures.drawn[-1] and "nano-3" not in pictures.drawn[-1], "it lists no device as failed"
    html = page()
    assert "4 of 4 devices run old-1 again, rolled back by hand." in html and "4 rolled back, 0 failed" in html
    assert 'class="verdict good"' in html and "<span>4 of 4</span>" in html
    assert 'id="failures"' not in html and 'class="name bad"' not in html and "rolled_back<" not in html
    shown = CliRunner().invoke(fleet, ["history", "--ledger", ledger_url], catch_exceptions=False).stdout.split()
    assert shown[shown.index("rollback") + 1] == "old-1" and shown[shown.index("1/1") + 1 :][:4] == ["4", "0", "4", "0"]

    for number, board in enumerate(boards.values()):  # two of them have been at another release before
        board.current, board.previous = RELEASE, f"old-{number % 2}"
        ledger.append(rollback, "device", f"nano-{number}", RELEASE, state="active", changed=True)
    roll_back()
    (row,) = views.history(ledger, 1)
    assert (row["release"], row["rolled_back"]) == ("2 releases", 4)
    assert "4 of 4 devices run 2 earlier releases again, rolled back by hand." in page()


def test_the_page_of_an_empty_ledger(ledger_url: str, tmp_path: Path) -> None:
    from jetlane.remote.fleet.ledger import Ledger

    Ledger(ledger_url).close()
    out = tmp_path / "fleet.html"
    CliRunner().invoke(fleet, ["page", "--ledger", ledger_url, "-o", str(out)], catch_exceptions=False)
    assert "Nothing was rolled out yet." in out.read_text()
