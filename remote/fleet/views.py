"""Tables of a ledger, as rows of plain values: the fleet, the rollouts, the events."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Optional

from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.state import ACTIVE, ROLLED_BACK, Event, RolloutState, in_trouble
from jetlane.specs.support.text import counted

Row = dict[str, Any]


def fleet(ledger: Ledger) -> list[Row]:
    """One row per device that was ever part of a rollout: the release it runs, its last state, when and why."""
    rows: dict[str, Row] = {}
    for event in ledger.latest():
        row = rows.setdefault(str(event.device), {"device": event.device, "runs": None})
        if event.runs is not None:
            row["runs"] = event.runs
        row.update(rollout=event.rollout, state=str(event.data.get("state", event.kind)), since=when(event.at))
        row["reason"] = first_line(event.data.get("reason") or event.data.get("board"))
    order = ("device", "runs", "state", "since", "rollout", "reason")
    return [{name: row[name] for name in order} for _, row in sorted(rows.items())]


def troubled(ledger: Ledger) -> list[str]:
    """Devices that are not as their last rollout wants them, in order of their names."""
    last = {str(event.device): event.data for event in ledger.latest()}
    return sorted(name for name, data in last.items() if in_trouble(data.get("state"), data.get("kind")))


def devices(state: RolloutState) -> list[Row]:
    """One row per device of one rollout, in the order of its waves."""
    return [
        {
            "device": device.name,
            "wave": device.wave + 1,
            "state": device.state if device.final or device.state != "unreachable" else "waiting",
            "since": when(device.since),
            "engine": str(device.facts.get("engine") or ""),
            "bytes": device.facts.get("bytes"),
            "seconds": _total(device.facts.get("seconds")),
            "reason": first_line(device.reason),
        }
        for device in state.devices.values()
    ]


def failures(state: RolloutState) -> list[Row]:
    """One row per device of a rollout that failed: ``device``, ``what`` happened, ``why``, and the ``remedy``."""
    rows = []
    for device in state.devices.values():
        if in_trouble(device.state, device.kind):
            what, why, remedy = parts_of(device.reason)
            rows.append({"device": device.name, "what": what, "why": why, "remedy": remedy})
    return rows


def parts_of(reason: str) -> tuple[str, str, str]:
    """What happened, why, and the remedy, of a reason that is the text of a ``JetlaneError``."""
    what, _, rest = reason.partition("\n")
    why, _, remedy = rest.removeprefix("why: ").partition("what to do: ")
    return what, why.strip(), remedy.strip()


def history(ledger: Ledger, limit: Optional[int] = None) -> list[Row]:
    """One row per rollout, newest first."""
    return [overview(ledger.state(rollout)) for rollout in ledger.rollouts(limit)]


def overview(state: RolloutState) -> Row:
    """The row of one rollout."""
    return {
        "rollout": state.id,
        "operation": state.operation,
        "release": release_of(state),
        "state": state.phase,
        "wave": f"{max(state.wave + 1, 0)}/{len(state.waves)}",
        "devices": len(state.devices),
        "active": state.count(ACTIVE),
        "rolled_back": state.count(ROLLED_BACK),
        "failed": state.failures,
        "began": when(state.started),
        "seconds": round(max(state.changed_at - state.started, 0.0), 1),  # the clock may have been set back
        "reason": first_line(state.reason or state.stopping),
    }


def release_of(state: RolloutState) -> str:
    """The release of a rollout; of a rollback, what its devices were rolled back to, counted where it differs."""
    back = {device.runs for device in state.devices.values() if state.is_done(device) and device.runs}
    if state.release or not back:
        return state.release
    return back.pop() if len(back) == 1 else counted(len(back), "release")


def shown_state(state: object) -> str:
    """A state in words."""
    return str(state).replace("_", " ")


def audit(ledger: Ledger, rollout: Optional[str] = None, device: Optional[str] = None) -> list[Row]:
    """Every event, in order."""
    return [_line(event) for event in ledger.events(rollout, device)]


def _line(event: Event) -> Row:
    return {
        "number": event.number,
        "at": when(event.at),
        "rollout": event.rollout,
        "event": event.kind,
        "device": event.device,
        "runs": event.runs,
        "data": dict(event.data),
    }


def when(at: float) -> str:
    """A time in UTC, ISO 8601, to the second; seconds since 1970 where the calendar does not reach."""
    try:
        return datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{at:.0f} s"


def _total(seconds: Any) -> Optional[float]:
    """Sum of the seconds of a delivery's stages; None where the ledger has no valid ones."""
    given = seconds.values() if isinstance(seconds, dict) else ()
    return round(sum(value for value in given if isinstance(value, (int, float))), 1) or None


def first_line(text: Any) -> str:
    return str(text or "").partition("\n")[0]
