"""A release to a fleet, as a run, a command or a flow asks for it; the engine itself is ``jetlane.remote.fleet``.

Needs no Prefect: that may look on as an observer, or lend its threads as an executor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.device.latency import SLOW
from jetlane.remote.fleet import rules
from jetlane.remote.fleet import state as states
from jetlane.specs.errors import DeviceError, GateError
from jetlane.specs.schema import Build, Fleet, Gate
from jetlane.tasks.run.facts import FAILED, SKIPPED, UNCHANGED, DeviceFacts
from jetlane.tasks.run.rollout_releases import noted_ledger
from jetlane.tasks.run.site_operations import with_sites
from jetlane.tasks.run.workspace import Workspace

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.fleet.execution import Executor
    from jetlane.remote.fleet.ledger import Ledger
    from jetlane.remote.fleet.observer import Observer
    from jetlane.remote.fleet.rollout import Approver
    from jetlane.remote.fleet.sites import Dispatch
    from jetlane.remote.fleet.state import DeviceState, RolloutState
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.shared_store import SharedStore

#: A fleet's report shows the pictures of one device; the detections of all would fill the memory.
_PICTURED = 1
_SLOW_REMEDY = (
    "build in fp16 or int8, take a smaller network, set the boards' power mode, change gate.max_latency_ms, "
    "or say --force"
)
#: Options of a delivery that shape no engine.
_OF_DELIVERY = ("time_limit", "max_latency_ms")


@dataclass
class Listeners:
    """Who takes part in a rollout beside the engine.

    Attributes:
        observer: Watches.
        approver: Asks a person between waves; without one the answer comes through the ledger.
        executor: Where devices are worked on; threads of this process unless given.
        sites: Makes what brings work to the work pools that groups of the inventory name.
    """

    observer: Optional[Observer] = None
    approver: Optional[Approver] = None
    executor: Optional[Executor] = None
    sites: Optional[Callable[[SharedStore], Dispatch]] = None

    def as_arguments(self) -> dict[str, Any]:
        return {"observer": self.observer, "approver": self.approver, "executor": self.executor}


@dataclass(frozen=True)
class Rolled:
    """A rollout that has ended.

    Attributes:
        devices: One entry per device, in inventory order.
        outcome: ``succeeded``, ``incomplete`` (failures within what the fleet's policy allows), ``stopped``, ...
        reason: Why it was stopped.
        runs: What each device runs, of those that the rollout changed.
    """

    rollout: str
    release: str
    outcome: str
    reason: str = ""
    devices: tuple[DeviceFacts, ...] = ()
    runs: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether the release is what the fleet runs now."""
        return self.outcome in (states.SUCCEEDED, states.INCOMPLETE)


def options_of(build: Build, gate: Optional[Gate] = None) -> dict[str, Any]:
    """What the agent calls them; see ``jetlane.remote.agent.recipes.DEFAULTS``. The last two are the workstation's."""
    return {
        "precision": build.precision,
        "batch": build.max_batch,
        "workspace_mb": build.workspace_mb,
        "dla_core": build.dla_core,
        "timing_cache": build.timing_cache,
        "nms": build.nms,
        "time_limit": rules.seconds(build.time_limit),
        "max_latency_ms": gate.max_latency_ms if gate is not None else None,
    }


def roll_out(
    release: Path,
    devices: Sequence[Device],
    fleet: Fleet,
    build: Build,
    ledger: Ledger,
    listeners: Optional[Listeners] = None,
    retry_failed: bool = False,
    gate: Optional[Gate] = None,
) -> Rolled:
    """Bring a release to devices, wave by wave; an unfinished rollout of the same is taken up where it was.

    Args:
        retry_failed: Only those that failed in the last rollout of this release.
        gate: Its ``max_latency_ms`` is asked of each device.

    Raises:
        ReleaseError: The folder is not a whole release.
        DeviceError: Another rollout is at work on one of the devices.
    """
    from jetlane.remote.fleet.creation import Request, addresses_of, create_or_resume, failed_before
    from jetlane.remote.fleet.device_operations import SshOperations
    from jetlane.remote.fleet.rollout import Rollout
    from jetlane.remote.release.folder import read_release
    from jetlane.remote.ssh.transfer import Uploads

    whole = read_release(release)
    if retry_failed:
        names = failed_before(ledger, whole.id, [device.name for device in devices])
        devices = [device for device in devices if device.name in names]
    options = options_of(build, gate)
    engine_options = {name: value for name, value in options.items() if name not in _OF_DELIVERY}
    rollout = create_or_resume(ledger, Request(addresses_of(devices), whole.id, fleet, options=engine_options))
    reports = Reports()
    named = {device.name: device for device in devices}
    near = SshOperations(named, whole, options, Uploads(fleet.transfers, fleet.bandwidth), fleet.keep_releases)
    boards = with_sites(near, devices, fleet, (listeners or Listeners()).sites, whole, options)
    engine = Rollout(ledger, rollout, boards, on_report=reports.take, **(listeners or Listeners()).as_arguments())
    return _rolled(engine.run(), devices, reports)


def rollback(
    devices: Sequence[Device],
    fleet: Fleet,
    ledger: Ledger,
    listeners: Optional[Listeners] = None,
    release: str = "",
) -> Rolled:
    """Roll devices back to their previous release, or to one that they kept; an interrupted rollback is resumed.

    Raises:
        DeviceError: A rollout is at work on one of the devices.
    """
    from jetlane.remote.fleet.creation import Request, addresses_of, create_or_resume
    from jetlane.remote.fleet.device_operations import SshOperations
    from jetlane.remote.fleet.rollout import Rollout

    request = Request(addresses_of(devices), release, rules.for_rollback(fleet), operation=states.ROLLBACK)
    near = SshOperations({device.name: device for device in devices})
    boards = with_sites(near, devices, fleet, (listeners or Listeners()).sites)
    engine = Rollout(ledger, create_or_resume(ledger, request), boards, **(listeners or Listeners()).as_arguments())
    return _rolled(engine.run(), devices, Reports())


def rollback_and_remember(
    devices: Sequence[Device],
    fleet: Fleet,
    ledger: Ledger,
    workspace: Workspace,
    listeners: Optional[Listeners] = None,
    release: str = "",
    whole: bool = True,
) -> dict[str, str]:
    """``rollback``, and a note of what is live now; returns {device: the release that it runs now}.

    Args:
        whole: These devices speak for the fleet.

    Raises:
        DeviceError: A device could not be rolled back; the others were.
    """
    from jetlane.remote.fleet.views import parts_of
    from jetlane.tasks.run.live_release import remember_live

    rolled = rollback(devices, fleet, ledger, listeners, release)
    bad = [device for device in rolled.devices if device.state != states.ROLLED_BACK]
    if bad:
        others = "; the others were rolled back" if len(bad) < len(rolled.devices) else ""
        what, why, remedy = parts_of(bad[0].reason or rolled.reason)
        raise DeviceError(
            f"not rolled back: {_name_list([device.name for device in bad])}",
            f"{what}; {_in_line(why)}" if why else what,
            f"{remedy or 'fix the cause and run again'}{others}",
        )
    if whole and len(set(rolled.runs.values())) == 1:
        remember_live(workspace, next(iter(rolled.runs.values())))
    return dict(rolled.runs)


def _in_line(reason: str) -> str:
    """A device's error, of up to three lines, as the reason for another one."""
    return "; ".join(line.removeprefix("why: ") for line in reason.splitlines())


def refuse_failures(rolled: Rolled) -> None:
    """End a command whose fleet is not as it should be.

    Raises:
        DeviceError: With the first device's reason, and who was left out.
        GateError: Devices failed for nothing but that the model is too slow on them.
    """
    if rolled.live:
        return
    if reasons := too_slow(rolled):
        raise GateError("the gate refuses this model: it is too slow", "; ".join(reasons), _SLOW_REMEDY)
    bad = [device for device in rolled.devices if device.state == FAILED]
    left = [device.name for device in rolled.devices if device.state == SKIPPED]
    rest = f"; left as they were: {_name_list(left)}" if left else ""
    raise DeviceError(
        f"the release did not go live on {_name_list([device.name for device in bad]) or 'the whole fleet'}{rest}",
        _in_line(bad[0].reason) if bad else rolled.reason,
        "fix the cause and run again: what was done is not done again",
    )


def too_slow(rolled: Rolled) -> list[str]:
    """What devices say that failed, where each of them did because the model is too slow there."""
    failed = [device for device in rolled.devices if device.state == FAILED]
    return [device.reason for device in failed] if all(device.kind == SLOW for device in failed) else []


@contextmanager
def devices_of(
    fleet: Fleet, workspace: Workspace, names: Optional[Sequence[str]] = None, key: Optional[bytes] = None
) -> Iterator[Sequence[Device]]:
    """The devices of an inventory, or virtual Jetsons that are switched on while they are needed; those that
    a person has switched on stay on.

    Args:
        names: Only these.

    Raises:
        SpecError: The inventory is wrong (file, line, column), or does not list a name.
    """
    from jetlane.remote.inventory import load_inventory

    if fleet.inventory is not None:
        inventory = load_inventory(Path(fleet.inventory))
        yield [inventory.device(name) for name in names] if names else inventory.devices
        return
    from jetlane.remote.release.signing import project_key
    from jetlane.remote.virtual import fleet as virtual

    folder = workspace.root / "virtual"
    with workspace.lock("virtual"):
        public = project_key(workspace.root).public if key is None else key
        numbered = virtual.numbered(fleet.virtual)
        inventory = load_inventory(virtual.start(folder, numbered, key=public).inventory)
        try:  # more of them may be on
            yield [inventory.device(name) for name in names or numbered]
        finally:
            if not (folder / virtual.STAYS).exists():
                virtual.stop(folder)


@contextmanager
def ledger_of(fleet: Fleet, workspace: Workspace) -> Iterator[Ledger]:
    """The fleet's ledger, closed at the end."""
    from jetlane.remote.fleet.ledger import Ledger

    ledger = Ledger(noted_ledger(workspace.root, fleet.ledger))
    try:
        yield ledger
    finally:
        ledger.close()


class Reports:
    """What the deliveries reported; of all but one device without its detections."""

    def __init__(self) -> None:
        self._reports: dict[str, DeviceReport] = {}

    def take(self, report: DeviceReport) -> None:
        if len(self._reports) >= _PICTURED:
            report.detections = []
        self._reports[report.name] = report

    def facts(self, device: Device, known: DeviceState) -> DeviceFacts:
        """One device as the report shows it."""
        from jetlane.remote.virtual.fleet import is_virtual

        if known.state != states.ACTIVE:
            state = FAILED if known.failed else known.state  # skipped, or rolled back as it was asked to be
            reason = known.reason if known.state in (FAILED, state) else f"{known.state}: {known.reason}"
            known_as = (device.name, device.address, state, reason)
            return DeviceFacts(*known_as, kind=known.kind, virtual=is_virtual(device))
        state = states.ACTIVE if known.changed else UNCHANGED
        report = self._reports.get(device.name)
        if report is None:  # it could not be asked anew
            return DeviceFacts(device.name, device.address, state, known.reason, virtual=is_virtual(device))
        return DeviceFacts(
            name=device.name,
            host=device.address,
            state=state,
            reason="; ".join([*report.skipped, *report.notes]),
            backend=report.backend,
            board=dict(report.board),
            engine_key=report.engine,
            bytes_sent=report.bytes_sent,
            seconds=dict(report.seconds),
            signed=report.signed is not None,
            agreement=dict(report.agreement),
            previous=report.previous or "",
            virtual=is_virtual(device),
            detections=tuple(report.detections),
        )


def _rolled(state: RolloutState, devices: Sequence[Device], reports: Reports) -> Rolled:
    reached = [device for device in devices if device.name in state.devices]
    facts = tuple(reports.facts(device, state.devices[device.name]) for device in reached)
    runs = {device.name: device.runs for device in state.devices.values() if device.runs}
    return Rolled(state.id, state.release, state.outcome, state.reason, facts, runs)


def _name_list(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
