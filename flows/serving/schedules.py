"""The schedules of one workspace's ``jetlane up``: which spec is retrained when.

They are kept in ``<workspace>/up/schedules.json``, so that they can be made, paused and removed while no server runs;
the next ``jetlane up`` brings them there. What a person switched in the server's own pages meanwhile is taken over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.support.local_files import PRIVATE, locked, private_folder, read_json, write_atomic

#: Of every deployment that stands for a schedule.
TAG = "jetlane-schedule"
FLOW = "scheduled-retrain"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")


@dataclass(frozen=True)
class RetrainSchedule:
    """When a spec is retrained; one of ``cron``, ``interval`` and ``rrule`` is given.

    Attributes:
        name: Of the schedule, and of its deployment: ``scheduled-retrain/NAME``.
        spec: Absolute path.
        interval: Seconds.
        rrule: As in RFC 5545.
        timezone: IANA name, for ``cron`` and ``rrule``.
        active: False while it is paused.
        pending: Whether it was switched on or paused while no server ran, and no server knows yet.
    """

    name: str
    spec: str
    cron: Optional[str] = None
    interval: Optional[float] = None
    rrule: Optional[str] = None
    timezone: str = "UTC"
    active: bool = True
    pending: bool = False

    @property
    def when(self) -> str:
        """For a person."""
        if self.interval is not None:
            return f"every {self.interval:g} s"
        return f"{self.cron or self.rrule} ({self.timezone})"


def named(given: str) -> str:
    """``given``, where it can be a schedule's name.

    Raises:
        SpecError: It cannot.
    """
    if not _NAME.match(given):
        raise SpecError(
            f"{given!r} cannot be a schedule's name", "small letters, digits, - and _", "give another with --name"
        )
    return given


class ScheduleBook:
    """The schedules of a workspace.

    Args:
        folder: ``<workspace>/up``; it is made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "schedules.json"

    def all(self) -> list[RetrainSchedule]:
        """In the order of their names.

        Raises:
            JetlaneError: The file is damaged: what it held is not guessed.
        """
        if not self._file.exists():
            return []
        known = read_json(self._file)
        try:
            assert isinstance(known, list)
            return sorted((RetrainSchedule(**one) for one in known), key=lambda one: one.name)
        except (AssertionError, TypeError):
            raise JetlaneError(
                f"{self._file} is damaged", "it is no list of schedules", "remove it, and make the schedules again"
            ) from None

    def get(self, name: str) -> RetrainSchedule:
        """The schedule of a name.

        Raises:
            SpecError: There is none.
        """
        known = {one.name: one for one in self.all()}
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none"
            raise SpecError(f"there is no schedule {name!r}", there, "list them: jetlane schedule list")
        return known[name]

    def put(self, schedule: RetrainSchedule) -> None:
        """Keep one; it replaces the one of its name."""
        self._write([*(one for one in self.all() if one.name != schedule.name), schedule])

    def switch(self, name: str, active: bool) -> RetrainSchedule:
        """Switch one on or off."""
        switched = replace(self.get(name), active=active, pending=True)
        self.put(switched)
        return switched

    def remove(self, name: str) -> None:
        self.get(name)
        self._write([one for one in self.all() if one.name != name])

    def settle(self, active: dict[str, bool]) -> None:
        """Note what the server has now, by name: nothing is pending any longer."""
        self._write([replace(one, active=active.get(one.name, one.active), pending=False) for one in self.all()])

    def _write(self, schedules: Iterable[RetrainSchedule]) -> None:
        if not self._file.parent.exists():
            private_folder(self._file.parent)
        rows: list[dict[str, Any]] = [asdict(one) for one in schedules]
        with locked(self._file) as place:
            write_atomic(place, json.dumps(rows, indent=1) + "\n", PRIVATE)


def next_runs(folder: Path) -> dict[str, str]:
    """When each schedule runs next, by name, as far as a server that runs knows; its switches are noted down.

    Args:
        folder: ``<workspace>/up``.

    Raises:
        JetlaneError: It does not answer.
    """
    from jetlane.flows.serving.up_state import UpState

    server = UpState(folder).server()
    if server is None:
        return {}
    book = ScheduleBook(folder)
    try:
        coming, active = _asked(*server, book.all())
    except (OSError, KeyError) as error:
        raise JetlaneError(
            f"the Prefect server at {server[0]} does not answer as it should", str(error), "jetlane down; jetlane up"
        ) from None
    if active:
        book.settle(active)
    return coming


def _asked(url: str, login: str, schedules: Iterable[RetrainSchedule]) -> tuple[dict[str, str], dict[str, bool]]:
    """When each runs next, and which are switched on."""
    from jetlane.flows.serving.api import ask

    coming, active = {}, {}
    for one in schedules:
        deployment = ask(f"{url}/deployments/name/{FLOW}/{one.name}", login=login)
        active[one.name] = bool(deployment["schedules"] and deployment["schedules"][0]["active"])
        asked = {
            "deployments": {"id": {"any_": [deployment["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 1,
        }
        runs = ask(f"{url}/flow_runs/filter", asked, login)
        if runs and active[one.name]:
            coming[one.name] = str(runs[0]["expected_start_time"])[:16].replace("T", " ") + " UTC"
    return coming, active
