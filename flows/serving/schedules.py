"""The schedules of one workspace's ``jetlane up``: which spec is retrained when, or on which events.

They are kept in ``<workspace>/up/schedules.json``, so that they can be made, paused and removed while no server runs;
the next ``jetlane up`` brings them there. What a person switched in the server's own pages meanwhile is taken over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Optional

from jetlane.flows.serving.events import DATA_ADDED, DRIFTED, EventKind
from jetlane.specs.errors import JetlaneError, SpecError
from jetlane.specs.names import RULE, is_name
from jetlane.specs.support.local_files import PRIVATE, locked, private_folder, read_json, write_atomic

#: Of every deployment that stands for a schedule.
TAG = "jetlane-schedule"
#: Of those among them that look at what a spec watches.
WATCH_TAG = "jetlane-watch"
FLOW = "scheduled-retrain"


@dataclass(frozen=True)
class Trigger:
    """What may start a run beside the clock.

    Attributes:
        event: Of the spec's project.
        words: For a person, after "is retrained".
    """

    event: EventKind
    words: str


ON = {"data": Trigger(DATA_ADDED, "on new data"), "drifted": Trigger(DRIFTED, "when the model has drifted")}


@dataclass(frozen=True)
class RetrainSchedule:
    """When a spec is retrained; at most one of ``cron``, ``interval`` and ``rrule`` is given, or ``on``, or both.

    Attributes:
        name: Of the schedule, and of its deployment: ``scheduled-retrain/NAME``.
        spec: Absolute path.
        interval: Seconds.
        rrule: As in RFC 5545.
        timezone: IANA name, for ``cron`` and ``rrule``.
        on: Keys of ``ON``.
        watch: Seconds between two looks at what ``dataset.watch`` of the spec names; None where it names nothing.
        active: False while it is paused.
        pending: Whether it was switched on or paused while no server ran, and no server knows yet.
    """

    name: str
    spec: str
    cron: Optional[str] = None
    interval: Optional[float] = None
    rrule: Optional[str] = None
    timezone: str = "UTC"
    on: tuple[str, ...] = ()
    watch: Optional[float] = None
    active: bool = True
    pending: bool = False

    @property
    def when(self) -> str:
        """For a person."""
        told = [ON[key].words for key in self.on]
        if self.interval is not None:
            told.insert(0, f"every {self.interval:g} s")
        elif self.is_timed:
            told.insert(0, f"{self.cron or self.rrule} ({self.timezone})")
        return ", ".join(told)

    @property
    def is_timed(self) -> bool:
        """Whether the clock starts runs."""
        return self.interval is not None or self.cron is not None or self.rrule is not None


def named(given: str) -> str:
    """``given``, where it can be a schedule's name.

    Raises:
        SpecError: It cannot.
    """
    if not is_name(given):
        raise SpecError(f"{given!r} cannot be a schedule's name", f"it may have {RULE}", "give another with --name")
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
        return _read(self._file)

    def get(self, name: str) -> RetrainSchedule:
        """The schedule of a name.

        Raises:
            SpecError: There is none.
        """
        return _found(self.all(), name)

    def put(self, schedule: RetrainSchedule) -> None:
        """Keep one; it replaces the one of its name."""
        self._change(lambda kept: [*(one for one in kept if one.name != schedule.name), schedule])

    def switch(self, name: str, active: bool) -> None:
        """Switch one on or off."""

        def switched(kept: list[RetrainSchedule]) -> list[RetrainSchedule]:
            meant = _found(kept, name)
            return [replace(one, active=active, pending=True) if one is meant else one for one in kept]

        self._change(switched)

    def remove(self, name: str) -> None:
        def without(kept: list[RetrainSchedule]) -> list[RetrainSchedule]:
            meant = _found(kept, name)
            return [one for one in kept if one is not meant]

        self._change(without)

    def settle(self, active: dict[str, bool]) -> None:
        """Note what the server has now, by name: nothing is pending any longer."""
        self._change(
            lambda kept: [replace(one, active=active.get(one.name, one.active), pending=False) for one in kept]
        )

    def _change(self, change: Callable[[list[RetrainSchedule]], list[RetrainSchedule]]) -> None:
        """Read, change and write; of two processes, one after the other."""
        if not self._file.parent.exists():
            private_folder(self._file.parent)
        with locked(self._file) as place:
            rows = [asdict(one) for one in change(_read(place))]
            write_atomic(place, json.dumps(rows, indent=1) + "\n", PRIVATE)


def _read(file: Path) -> list[RetrainSchedule]:
    if not file.exists():
        return []
    known = read_json(file)
    try:
        assert isinstance(known, list)
        kept = (RetrainSchedule(**{**one, "on": tuple(one.get("on", ()))}) for one in known)
        return sorted(kept, key=lambda one: one.name)
    except (AssertionError, AttributeError, TypeError):
        raise JetlaneError(
            f"{file} is damaged", "it is no list of schedules", "remove it, and make the schedules again"
        ) from None


def _found(schedules: Iterable[RetrainSchedule], name: str) -> RetrainSchedule:
    known = {one.name: one for one in schedules}
    if name not in known:
        why, remedy = f"there are {', '.join(known)}", "list them: jetlane schedule list"
        if not known:
            why, remedy = (
                "this workspace has no schedules",
                "name the workspace of the schedule: --workspace, or --spec",
            )
        raise SpecError(f"there is no schedule {name!r}", why, remedy)
    return known[name]


def start(folder: Path, name: str) -> str:
    """Have a run of a schedule begin now; returns the schedule's deployment.

    Args:
        folder: ``<workspace>/up``.

    Raises:
        SpecError: There is no such schedule.
        JetlaneError: No server runs, or it does not answer.
    """
    from jetlane.flows.serving.api import ask
    from jetlane.flows.serving.up_state import UpState

    one = ScheduleBook(folder).get(name)
    server = UpState(folder).server()
    if server is None:
        what = f"no server runs that could start {name}"
        raise JetlaneError(what, "", f"start one: jetlane up; or train without one: jetlane run {one.spec}")
    url, login = server
    try:
        deployment = ask(f"{url}/deployments/name/{FLOW}/{name}", login=login)
        ask(f"{url}/deployments/{deployment['id']}/create_flow_run", {}, login)
    except (OSError, KeyError) as error:
        raise _no_answer(url, error) from None
    return f"{FLOW}/{name}"


def _no_answer(url: str, error: Exception) -> JetlaneError:
    what = f"the Prefect server at {url} does not answer as it should"
    return JetlaneError(what, str(error), "jetlane down; jetlane up")


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
        raise _no_answer(server[0], error) from None
    if active:
        book.settle(active)
    return coming


def _asked(url: str, login: str, schedules: Iterable[RetrainSchedule]) -> tuple[dict[str, str], dict[str, bool]]:
    """When each runs next, and which are switched on."""
    from jetlane.flows.serving.api import ask

    coming, active = {}, {}
    for one in schedules:
        deployment = ask(f"{url}/deployments/name/{FLOW}/{one.name}", login=login)
        switches = [schedule["active"] for schedule in deployment["schedules"]]
        if one.on:
            place = f"{url}/automations/related-to/prefect.deployment.{deployment['id']}"
            switches += [found["enabled"] for found in ask(place, login=login)]
        active[one.name] = any(switches)
        asked = {
            "deployments": {"id": {"any_": [deployment["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
            "sort": "EXPECTED_START_TIME_ASC",
            "limit": 1,
        }
        runs = ask(f"{url}/flow_runs/filter", asked, login)
        if runs and active[one.name] and one.is_timed:
            coming[one.name] = str(runs[0]["expected_start_time"])[:16].replace("T", " ") + " UTC"
    return coming, active
