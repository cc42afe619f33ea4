"""A rollout on a terminal, redrawn in place: waves, what each device is at, how fast, how long still, and failures.

The same lines a pipe would get (``fleet_lines``) scroll above it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from jetlane.flows.cli import terminal
from jetlane.flows.cli.lines import RolloutLines
from jetlane.remote.agent.manifest import short
from jetlane.remote.fleet.observer import NullObserver, Observer, ObserverGroup, StageProgress
from jetlane.remote.fleet.state import (
    ACTIVE,
    BUILDING,
    FAILED,
    FAILURES,
    PENDING,
    ROLLED_BACK,
    ROLLING_BACK,
    SHIPPING,
    UNREACHABLE,
    VERIFYING,
    DeviceState,
    Event,
    RolloutState,
    in_trouble,
)
from jetlane.remote.fleet.views import first_line, release_of, shown_state
from jetlane.specs.support.background import BackgroundThread
from jetlane.specs.support.text import counted
from jetlane.tasks.run.counted import clock

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

UNDER_WAY = (SHIPPING, BUILDING, VERIFYING, ROLLING_BACK)
#: Rows of devices that are under way, and of failures; the rest is counted.
SHOWN, SHOWN_FAILURES = 16, 6
_PER_SECOND = 4
#: Characters of the devices under way in a line.
_LONGEST = 300
_STYLES = {ACTIVE: "green", FAILED: "bold red", ROLLED_BACK: "red", UNREACHABLE: "yellow", PENDING: "dim"}
_BAR = 24


class Dashboard:
    """An ``Observer`` that draws; use ``watching``.

    What it keeps of a rollout is one small row per device, taken from the events as they come.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: Optional[RolloutState] = None
        self._progress: dict[str, StageProgress] = {}
        self._began: dict[str, float] = {}
        self._took: list[float] = []

    def recorded(self, event: Event, state: RolloutState) -> None:
        with self._lock:
            self._state = state
            if event.device is not None:
                self._timed(event)
                if event.data.get("state") not in UNDER_WAY:
                    self._progress.pop(event.device, None)

    def progress(self, progress: StageProgress) -> None:
        with self._lock:
            self._progress[progress.device] = progress

    def _timed(self, event: Event) -> None:
        """How long devices take, from their first stage to their last: the time left is estimated from it."""
        name, state = str(event.device), event.data.get("state")
        if state in UNDER_WAY:
            self._began.setdefault(name, event.at)
        elif name in self._began and state in (ACTIVE, *FAILURES):
            self._took.append(event.at - self._began.pop(name))

    # drawing

    def __rich__(self) -> RenderableType:
        from rich.console import Group

        with self._lock:
            if self._state is None:
                return ""
            devices = list(self._state.devices.values())
            parts: list[RenderableType] = [self._headline(self._state, devices), self._waves(self._state)]
            parts += self._under_way(devices)
            parts += self._failures(devices)
        return Group(*parts)

    def line(self) -> str:
        """How far the rollout is, for how long it goes on, and what the devices are at; empty before it begins."""
        with self._lock:
            if self._state is None or self._state.ended:
                return ""
            devices = list(self._state.devices.values())
            at = ", ".join(
                f"{device.name} {shown_state(device.state)}" for device in devices if device.state in UNDER_WAY
            )
            return f"{self._headline(self._state, devices).plain}" + (f"  {at[:_LONGEST]}" if at else "")

    def _headline(self, state: RolloutState, devices: list[DeviceState]) -> Text:
        from rich.text import Text

        done = sum(device.final for device in devices)
        text = Text(f"{state.operation} {state.id}  {short(release_of(state))}  ", style="bold")
        text.append(f"{state.phase}  ", style="yellow" if state.phase != "running" else "green")
        text.append(f"{done} of {counted(len(devices), 'device')}  {clock(time.time() - state.started)}")
        left = self._left(state, devices)
        if left is not None:
            text.append(f"  about {clock(left)} left")
        return text

    def _left(self, state: RolloutState, devices: list[DeviceState]) -> Optional[float]:
        """Seconds until the last device is done, people and soaking aside; None before the first is done."""
        todo = sum(not device.final for device in devices)
        if not self._took or not todo or state.ended:
            return None
        each = sum(self._took) / len(self._took)
        left = 0.0
        for wave in state.waves:
            open_ones = sum(not state.devices[name].final for name in wave)
            left += each * -(-open_ones // state.rules.concurrency)
        under_way = [state.changed_at - since for since in self._began.values()]
        return max(left - (max(under_way) if under_way else 0.0), each * 0.1)

    def _waves(self, state: RolloutState) -> Table:
        from rich.text import Text

        table = _table()
        for number, names in enumerate(state.waves):
            states = [state.devices[name] for name in names]
            good = sum(map(state.is_done, states))
            bad = sum(device.failed for device in states)
            ended = number in state.ended_waves
            soaking = number in state.soaking_since and not ended
            label = "ended" if ended else "soaking" if soaking else "under way" if number == state.wave else ""
            bar = Text("█" * round(_BAR * good / max(len(names), 1)), style="green")
            bar.append("█" * round(_BAR * bad / max(len(names), 1)), style="red")
            bar.append("░" * (_BAR - len(bar.plain)), style="dim")
            failed = Text(f"{bad} failed", style="red") if bad else Text("")
            table.add_row(f"wave {number + 1}", bar, f"{good}/{len(names)}", failed, label)
        return table

    def _under_way(self, devices: list[DeviceState]) -> list[RenderableType]:
        busy = [device for device in devices if device.state in UNDER_WAY and not device.final]
        waiting = [device for device in devices if device.state == UNREACHABLE and not device.final]
        if not busy and not waiting:
            return []
        table = _table()
        for device in busy[:SHOWN]:
            progress = self._progress.get(device.name)
            known = _progress_cells(progress) if progress is not None else ("",) * 4
            table.add_row(*_cells(device.name, shown_state(device.state), *known))
        for device in waiting[: max(SHOWN - len(busy), 0)]:
            tries = f"{device.attempts} tries"
            table.add_row(*_cells(device.name, "not reached", "", tries, "", first_line(device.reason)))
        hidden = len(busy) + len(waiting) - table.row_count
        if hidden > 0:
            table.add_row(f"and {hidden} more", "", "", "", "", "")
        return ["", table]

    def _failures(self, devices: list[DeviceState]) -> list[RenderableType]:
        bad = [device for device in devices if device.final and in_trouble(device.state, device.kind)]
        if not bad:
            return []
        table = _table()
        for device in sorted(bad, key=lambda device: -device.since)[:SHOWN_FAILURES]:
            told = _cells(device.name, shown_state(device.state), first_line(device.reason))
            table.add_row(*told, style=_STYLES.get(device.state))
        if len(bad) > SHOWN_FAILURES:
            table.add_row(f"and {len(bad) - SHOWN_FAILURES} more", "", "")
        return ["", table]


@dataclass(frozen=True)
class RolloutDisplay:
    """Who watches a rollout from a terminal.

    Attributes:
        aside: A ``with`` block for the time in which a person types: nothing is drawn meanwhile.
    """

    observer: Observer
    aside: Callable[[], AbstractContextManager[object]]


@contextmanager
def watching(console: Optional[Console] = None) -> Iterator[RolloutDisplay]:
    """A dashboard under the lines on a terminal, the lines alone elsewhere."""
    from rich.console import Console
    from rich.live import Live

    console = console or Console(highlight=False, markup=False, emoji=False)
    dashboard = Dashboard()
    if not console.is_terminal:
        with _LineNowAndThen(dashboard):
            yield RolloutDisplay(ObserverGroup([RolloutLines(), dashboard]), nullcontext)
        return
    # Live takes over standard output while it draws, so that the lines scroll above it.
    live = Live(get_renderable=dashboard.__rich__, console=console, refresh_per_second=_PER_SECOND)

    @contextmanager
    def aside() -> Iterator[None]:
        live.stop()
        try:
            yield
        finally:
            live.start(refresh=True)

    with live:
        yield RolloutDisplay(ObserverGroup([RolloutLines(), dashboard]), aside)


class _LineNowAndThen(BackgroundThread):
    """Says every half minute how far the rollout is."""

    def __init__(self, dashboard: Dashboard) -> None:
        super().__init__("jetlane-rollout")
        self._dashboard = dashboard

    def run_until_ended(self) -> None:
        while not self.ended.wait(terminal.PLAIN_SECONDS):
            line = self._dashboard.line()
            if line:
                print(line, flush=True)


@contextmanager
def unseen() -> Iterator[RolloutDisplay]:
    """Nothing is shown."""
    yield RolloutDisplay(NullObserver(), nullcontext)


def _cells(*texts: str) -> list[Text]:
    """Texts of others as they are: a string would be read as Rich's markup."""
    from rich.text import Text

    return [Text(text) for text in texts]


def _table() -> Table:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    return table


def _progress_cells(progress: StageProgress) -> tuple[str, str, str, str]:
    """Share, rate, time left, note."""
    share = f"{100 * progress.fraction:3.0f} %" if progress.fraction is not None else ""
    rate, left = "", ""
    if progress.rate:
        rate = f"{progress.rate / 1e6:.1f} MB/s"
        if progress.total is not None and progress.done is not None:
            left = f"{clock((progress.total - progress.done) / progress.rate)} left"
    return share, rate, left or f"for {clock(progress.seconds)}", first_line(progress.note)
