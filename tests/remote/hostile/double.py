"""Starts the doubles, plays cases on them in one rollout each, and collects the results."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.device.report import DeviceReport
from jetlane.remote.fleet.creation import Request, addresses_of, create_or_resume
from jetlane.remote.fleet.device_operations import SshOperations
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.rollout import Rollout
from jetlane.remote.fleet.state import RolloutState
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.release.folder import Release, read_release
from jetlane.specs.schema import Fleet
from jetlane.specs.support.processes import end_with_input

from .deviations import Deviation

ROOT = Path(__file__).resolve().parents[3]
_START_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """What one double does, which way to it is taken, and whether it runs the release already."""

    deviation: Optional[Deviation]
    way: str = "plain"
    again: bool = False


@dataclass
class Played:
    """What became of one wave of doubles.

    Attributes:
        raised: What the work on each ended with, where it failed.
        seconds: That each took.
        got: Folder of what each was sent, and of what it said.
    """

    cases: Mapping[str, Case]
    state: RolloutState
    reports: dict[str, DeviceReport] = field(default_factory=dict)
    raised: dict[str, list[Exception]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    got: dict[str, Path] = field(default_factory=dict)


class Doubles:
    """So many doubles in one process."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self._number = folder, 0
        self.names = [f"hostile-{number:02d}" for number in range(count)]
        folder.mkdir(parents=True)
        with open(folder / "log", "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.remote.hostile.server", str(folder), str(count)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not (folder / "inventory.yaml").exists():
            assert self._process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        self._inventory = load_inventory(folder / "inventory.yaml")

    def close(self) -> None:
        end_with_input(self._process)

    def set(self, name: str, case: Case, release: Path) -> Device:
        """Have a double play a case from now on; returns the way to it."""
        from .server import write_whole

        self._number += 1
        deviation = case.deviation.as_json() if case.deviation else None
        given = {"number": self._number, "deviation": deviation, "again": str(release) if case.again else None}
        write_whole(self.folder / name / "case.json", json.dumps(given))
        return replace(self._inventory.device(f"{name}-{case.way}"), name=name)

    def got(self, name: str) -> Path:
        """The folder of what came for the case that a double plays."""
        number = json.loads((self.folder / name / "case.json").read_text())["number"]
        return self.folder / name / "got" / str(number)

    def play(
        self,
        cases: Sequence[Case],
        release: Path,
        ledger: Ledger,
        options: Mapping[str, Any],
        honest: Optional[Doubles] = None,
    ) -> Played:
        """Roll a release out to a wave of doubles, one case each, and to one that deviates from nothing."""
        named = dict(zip(self.names, cases))
        devices = {name: self.set(name, case, release) for name, case in named.items()}
        got = {name: self.got(name) for name in named}
        if honest is not None:
            named["honest"] = Case(None)
            devices["honest"] = replace(honest.set(honest.names[0], Case(None), release), name="honest")
            got["honest"] = honest.got(honest.names[0])
        boards = Watched(devices, read_release(release), options)
        soaks = any(case.deviation and case.deviation.step in ("health", "rollback") for case in cases)
        rules = Fleet(waves=["100%"], max_failures="100%", soak=int(soaks), offline_window=0, concurrency=len(devices))
        request = Request(addresses_of(list(devices.values())), release.name, rules, options=options)
        reports: dict[str, DeviceReport] = {}
        rollout = Rollout(
            ledger,
            create_or_resume(ledger, request),
            boards,
            on_report=lambda report: reports.update({report.name: report}),
        )
        return Played(named, rollout.run(), reports, boards.raised, boards.seconds, got)


class Watched(SshOperations):
    """Keeps what the work on each board ended with, and how long it took."""

    def __init__(self, devices: Mapping[str, Device], release: Release, options: Mapping[str, Any]) -> None:
        super().__init__(devices, release, options)
        self.raised: dict[str, list[Exception]] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except Exception as error:
            self.raised.setdefault(name, []).append(error)
            raise
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began

    def deliver(self, name: str, reporter: Any) -> Any:
        with self._watched(name):
            return super().deliver(name, reporter)

    def check_health(self, name: str, reporter: Any) -> None:
        with self._watched(name):
            super().check_health(name, reporter)

    def rollback(self, name: str, release: str, reporter: Any) -> None:
        with self._watched(name):
            super().rollback(name, release, reporter)
