"""Create a rollout or a rollback, or resume the unfinished one that asked for the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.fleet import rules
from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.event_rows import bounded_data
from jetlane.remote.fleet.ledger import Ledger, new_id
from jetlane.remote.fleet.state import RolloutState
from jetlane.specs.errors import DeviceError, SpecError
from jetlane.specs.schema import Fleet

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device


@dataclass(frozen=True)
class Request:
    """What a rollout is asked to do.

    Attributes:
        addresses: {name: address} of the devices, in the order in which they are reached.
        release: Id; for a rollback, empty to roll each device back to its own previous one.
        options: Of the build.
    """

    addresses: Mapping[str, str]
    release: str
    rules: Fleet
    operation: str = states.ROLLOUT
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes two requests the same, so that the second resumes the rollout of the first."""
        return {
            "operation": self.operation,
            "release": self.release,
            "devices": sorted(self.addresses.values()),
            "options": dict(self.options),
        }


def addresses_of(devices: Sequence[Device]) -> dict[str, str]:
    """{name: where the device's agent is}, including its jump hosts: what two rollouts must not share."""
    return {
        device.name: ">".join([*(host.address for host in device.jump or ()), f"{device.address}/{device.root}"])
        for device in devices
    }


def create_or_resume(ledger: Ledger, request: Request, clock: Callable[[], float] = time.time) -> str:
    """Return the id of the rollout to run: a new one, or the unfinished one that asked for the same.

    An unfinished rollout of anything else that shares a device is ended: it would undo what now begins.

    Raises:
        SpecError: There are no devices, or two of them have the same address.
        DeviceError: A living process works on one of them.
    """
    if not request.addresses:
        raise SpecError("no device is selected", "the inventory or the selection is empty", "name at least one device")
    shared = set(request.addresses.values())
    if len(shared) < len(request.addresses):
        twice = [name for name, at in request.addresses.items() if list(request.addresses.values()).count(at) > 1]
        raise SpecError(f"{', '.join(twice)} are one device", "they have the same address and folder", "keep one name")
    asked = bounded_data(request.identity)  # as it is written
    for known in ledger.unfinished():
        if not shared & set(known.addresses.values()):
            continue
        if known.request == asked:
            return known.id
        refuse_held(ledger, known)
        ledger.append(known.id, "ended", outcome=states.SUPERSEDED, reason="another rollout began on its devices")
    rollout = new_id(clock())
    while ledger.events(rollout):  # a clock that was set back passes the same second again
        rollout = new_id(clock())
    waves = rules.split(list(request.addresses), request.rules.waves)
    chosen = {name for wave in waves for name in wave}
    ledger.append(
        rollout,
        "started",
        operation=request.operation,
        release=request.release,
        request=request.identity,
        policy=rules.to_json(request.rules),
        waves=waves,
        addresses={name: address for name, address in request.addresses.items() if name in chosen},
    )
    return rollout


def refuse_held(ledger: Ledger, known: RolloutState) -> None:
    """Check that no process works on a rollout.

    Raises:
        DeviceError: A process does.
    """
    holder = ledger.leases.held(known.id)
    if holder is not None:
        raise DeviceError(
            f"rollout {known.id} is under way on these devices",
            f"{holder} works on it",
            f"wait for it to end, or stop it: jetlane fleet abort {known.id}",
        )


def failed_before(ledger: Ledger, release: str, names: Sequence[str]) -> list[str]:
    """Which of these devices failed in the last rollout of a release; those that a retry includes.

    Raises:
        DeviceError: There was no such rollout, it has not ended, or nothing failed.
    """
    last = _last(ledger, release)
    if last is None:
        raise DeviceError(
            f"{release} was not rolled out before", "the ledger has no rollout of it", "roll it out first"
        )
    if not last.ended:
        raise DeviceError(
            f"rollout {last.id} of {release} has not ended",
            "it can be resumed",
            "run it again without --retry-failed, or end it: jetlane fleet abort " + last.id,
        )
    bad = [name for name in names if name in last.devices and last.devices[name].failed]
    if not bad:
        raise DeviceError(
            f"no device failed in rollout {last.id} of {release}",
            f"it {last.outcome}" + (f": {last.reason}" if last.reason else ""),
            "run it again without --retry-failed: devices that run the release are left alone",
        )
    return bad


def _last(ledger: Ledger, release: str) -> Optional[RolloutState]:
    for event in reversed(ledger.events(kinds=["started"])):
        if event.data.get("release") == release and event.data.get("operation") == states.ROLLOUT:
            return ledger.state(event.rollout)
    return None
