"""Requests to a rollout from another process: pause, resume, approve, abort. They take effect within a second."""

from __future__ import annotations

from typing import Optional

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.state import RolloutState, fold
from jetlane.specs.errors import DeviceError


def find(ledger: Ledger, rollout: Optional[str] = None) -> RolloutState:
    """A rollout by its id (or the beginning of it), or the only one that is not ended.

    Raises:
        DeviceError: There is none, or several and none was named.
    """
    if rollout is not None:
        matching = [known for known in ledger.rollouts() if known.startswith(rollout)]
        if len(matching) != 1:
            what = (
                f"there is no rollout {rollout}" if not matching else f"{rollout} may be any of {', '.join(matching)}"
            )
            raise DeviceError(what, "", "jetlane fleet history lists them")
        return ledger.state(matching[0])
    unfinished = ledger.unfinished()
    if len(unfinished) != 1:
        listed = ", ".join(known.id for known in unfinished)
        raise DeviceError(
            "no rollout is under way" if not unfinished else f"{len(unfinished)} rollouts are under way: {listed}",
            "",
            "jetlane fleet history lists them" if not unfinished else "name one of them",
        )
    return unfinished[0]


def pause(ledger: Ledger, state: RolloutState, by: str) -> None:
    """Start no further device; those in progress finish."""
    _refuse_ended(state)
    ledger.append(state.id, "paused", by=by)


def resume(ledger: Ledger, state: RolloutState, by: str) -> None:
    """End a pause."""
    _refuse_ended(state)
    ledger.append(state.id, "resumed", by=by)


def answer(ledger: Ledger, state: RolloutState, by: str, approved: bool = True, note: str = "") -> int:
    """Record a person's decision on the wave that waits for approval; returns its number, from 0.

    Raises:
        DeviceError: No wave waits for approval.
    """
    _refuse_ended(state)
    waiting = sorted(state.asked - state.approved)
    if not waiting or state.stopping:
        raise DeviceError(f"rollout {state.id} does not wait for approval", f"it is {state.phase}", "")
    number = waiting[-1]
    if approved:
        ledger.append(state.id, "approved", wave=number, by=by, note=note)
    else:
        reason = f"wave {number + 1} was not approved by {by}" + (f": {note}" if note else "")
        ledger.append(state.id, "rejected", wave=number, by=by, reason=reason, scope=state.rules.on_failure)
    return number


def abort(ledger: Ledger, state: RolloutState, by: str) -> None:
    """End a rollout: devices that are switching finish, all others stay as they are, nothing is rolled back.

    Where no process works on it, its end is recorded here.
    """
    _refuse_ended(state)
    ledger.append(state.id, "abort", by=by)
    if ledger.leases.held(state.id) is None:
        now = fold(state.id, ledger.events(state.id))
        for device in now.devices.values():
            if not device.final:
                reason = f"left as it was: aborted by {by}"
                ledger.append(state.id, "device", device.name, state=states.SKIPPED, reason=reason)
        ledger.append(state.id, "ended", outcome=states.ABORTED, reason=f"aborted by {by}")


def _refuse_ended(state: RolloutState) -> None:
    if state.ended:
        raise DeviceError(f"rollout {state.id} has ended", f"it {state.outcome} {state.reason}".rstrip(), "")
