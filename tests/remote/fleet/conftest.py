"""Boards that only exist in memory, with a clock that jumps: the state machine without SSH."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Optional

import pytest

from jetlane.remote.device.report import DeviceReport
from jetlane.remote.fleet.device_operations import Reporter, RunningReleases
from jetlane.remote.fleet.ledger import Ledger
from jetlane.specs.errors import DeviceError


class SteppedClock:
    """A clock that waiting advances."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def wait(self, running: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        self._now += 0.0 if running else max(seconds, 0.001)
        return set(running)


class Inline:
    """Does the work at once, in the caller's thread."""

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self) -> None: ...


class PowerCut(BaseException):
    """The orchestrator dies here."""


@dataclass
class FakeBoard:
    """A board and what will go wrong on it.

    Attributes:
        faults: What the next deliveries meet: kinds, or "" for none; after the last all goes well.
        off: (from, to): not reached between these times.
        sick: The second health check finds it ill.
    """

    current: Optional[str] = "old-1"
    previous: Optional[str] = None
    faults: list[str] = field(default_factory=list)
    off: tuple[float, float] = (0.0, 0.0)
    sick: bool = False
    builds: list[str] = field(default_factory=list)
    contacts: int = 0
    touched: list[float] = field(default_factory=list)


class FakeOperations:
    """The ``DeviceOperations`` of these."""

    def __init__(self, boards: dict[str, FakeBoard], release: str, clock: SteppedClock) -> None:
        self.boards, self.release, self.clock = boards, release, clock

    def _reach(self, name: str) -> FakeBoard:
        board = self.boards[name]
        board.contacts += 1
        if board.off[0] <= self.clock.now() < board.off[1]:
            raise DeviceError(f"{name}: no SSH connection", "it is off", "switch it on", "unreachable")
        return board

    def status(self, name: str, reporter: Reporter) -> RunningReleases:
        board = self._reach(name)
        return RunningReleases(board.current, board.previous)

    def deliver(self, name: str, reporter: Reporter) -> DeviceReport:
        board = self._reach(name)
        report = DeviceReport(name, name, self.release)
        if board.current == self.release:
            report.state, report.previous = "unchanged", board.previous
            return report
        fault = board.faults.pop(0) if board.faults else ""
        for phase in ("ship", "build", "verify", "activate"):
            reporter({"event": "phase", "phase": phase})
            if phase == "build" and self.release not in board.builds:
                board.builds.append(self.release)
            if fault == f"cut-{phase}":
                raise DeviceError(f"{name}: the connection was lost", "", "", "cut")
            if fault == "disagreement" and phase == "verify":
                raise DeviceError(f"{name}: it does not find what the workstation found", "", "", "disagreement")
            if fault == "unhealthy" and phase == "activate":
                raise DeviceError(f"{name}: not well", "", "", "unhealthy")
        board.touched.append(self.clock.now())
        board.previous, board.current = board.current, self.release
        if fault == "cut-after":
            raise DeviceError(f"{name}: the connection was lost", "", "", "cut")
        report.previous = board.previous
        return report

    def check_health(self, name: str, reporter: Reporter) -> None:
        if self._reach(name).sick:
            raise DeviceError(f"{name}: not well any more", "", "", "unhealthy")

    def rollback(self, name: str, release: str, reporter: Reporter) -> None:
        board = self._reach(name)
        if board.current != release:
            board.previous, board.current = board.current, release


class CrashingLedger(Ledger):
    """A ledger whose process dies before or after its n-th event."""

    dies_at: Optional[int] = None
    dies_after = False

    def append(self, *args: Any, **kwargs: Any) -> Any:
        if self.dies_at is None:
            return super().append(*args, **kwargs)
        self.dies_at -= 1
        if self.dies_at < 0:
            raise PowerCut
        event = super().append(*args, **kwargs)
        if self.dies_at == 0 and self.dies_after:
            raise PowerCut
        return event


@pytest.fixture
def fakes() -> SimpleNamespace:
    """The classes of this file."""
    return SimpleNamespace(
        SteppedClock=SteppedClock,
        Inline=Inline,
        PowerCut=PowerCut,
        Board=FakeBoard,
        Operations=FakeOperations,
        Ledger=CrashingLedger,
    )


@pytest.fixture
def ledger_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'fleet.db'}"


@pytest.fixture
def fresh_ledger(tmp_path: Path) -> Callable[[], str]:
    """Makes one empty ledger after the other, by copying a file: migrations take longer than a rollout of fakes."""
    Ledger(f"sqlite:///{tmp_path / 'template.db'}").close()
    count = iter(range(1_000_000))

    def make() -> str:
        path = tmp_path / f"ledger-{next(count)}.db"
        shutil.copyfile(tmp_path / "template.db", path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="module")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A lasting server: a run's private one keeps no events, and of task runs it hears by events."""
    from jetlane.flows.serving.api import QUIET, wait_until_healthy
    from jetlane.flows.serving.first_database import kept_database
    from jetlane.flows.serving.ports import reserve

    home = tmp_path_factory.mktemp("prefect")
    with reserve() as free:
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment.update(QUIET, PREFECT_HOME=str(home), PREFECT_API_URL=f"http://127.0.0.1:{port}/api")
    environment.update(PREFECT_SERVER_UI_ENABLED="false", PREFECT_API_BLOCKS_REGISTER_ON_START="false")
    if kept_database().is_file():  # otherwise Prefect makes one, which takes ten seconds
        shutil.copyfile(kept_database(), home / "prefect.db")
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with open(home / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        wait_until_healthy(environment["PREFECT_API_URL"], server, home / "log")
        yield environment
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
