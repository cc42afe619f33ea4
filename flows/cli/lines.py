"""A rollout in lines: what a terminal, a log or a pipe shows of it."""

from __future__ import annotations

import sys
import time

from jetlane.remote.fleet.observer import StageProgress
from jetlane.remote.fleet.state import ROLLBACK, SKIPPED, Event, RolloutState
from jetlane.remote.fleet.views import first_line, shown_state
from jetlane.specs.support.text import TEXT, counted, harmless

#: States that pass, and that of devices that were not touched: these are counted at the end.
_QUIET = ("shipping", "building", "verifying", "rolling_back", "skipped")


class RolloutLines:
    """An ``Observer``: a line whenever a wave begins or ends, and whenever a device comes to a state that lasts."""

    def recorded(self, event: Event, state: RolloutState) -> None:
        text = self._text(event, state)
        if text:
            print(f"{_clock(event.at)}  {harmless(text, TEXT)}", file=sys.stdout, flush=True)

    def progress(self, progress: StageProgress) -> None: ...

    def _text(self, event: Event, state: RolloutState) -> str:
        data, kind = event.data, event.kind
        wave = data.get("wave")  # a ledger may hold anything
        waves = f"{wave + 1 if isinstance(wave, int) else wave} of {len(state.waves)}"
        if kind == "attached":
            devices, in_waves = counted(len(state.devices), "device"), counted(len(state.waves), "wave")
            return f"{state.operation} {state.id}: {devices} in {in_waves}"
        if kind == "device":
            return "" if data.get("state") in _QUIET else self._device(event)
        if kind == "reconciled":
            return f"{event.device}: the ledger said {data.get('ledger')}, but {data.get('board')}"
        return {
            "wave_started": f"wave {waves}: {counted(data.get('devices'), 'device')}",
            "wave_soaking": f"wave {waves}: its health is looked at again in {_whole(data.get('seconds'))} s",
            "wave_ended": f"wave {waves} ended: {_done(event, state)}, {data.get('failed')} failed",
            "approval_asked": f"wave {waves} waits for a person: jetlane fleet approve {state.id}",
            "approved": f"wave {waves} approved by {data.get('by')}",
            "rejected": str(data.get("reason")),
            "paused": f"paused by {data.get('by')}; to go on: jetlane fleet resume {state.id}",
            "resumed": f"resumed by {data.get('by')}",
            "abort": f"aborted by {data.get('by')}",
            "stopping": f"stopped: {data.get('reason')}",
            "ended": f"ended: {data.get('outcome')}{_left(state)}"
            + (f" ({data['reason']})" if data.get("reason") else ""),
        }.get(kind, "")

    def _device(self, event: Event) -> str:
        data = event.data
        reason = first_line(data.get("reason") or data.get("note")).removeprefix(f"{event.device}: ")
        state = "active, and well after the wave" if data.get("soaked") else shown_state(data.get("state"))
        if state == "unreachable" and not data.get("final"):
            state = "not reached, tried again"
        return f"{event.device}: {state}" + (f" ({reason})" if reason else "")


def _clock(at: float) -> str:
    """When it happened, by the clock on the wall here; with the date where that is not today's."""
    try:
        happened, now = time.localtime(at), time.localtime()
    except (OverflowError, ValueError, OSError):  # a ledger may hold anything
        return f"{at:.0f} s"
    today = happened[:3] == now[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", happened)


def _done(event: Event, state: RolloutState) -> str:
    back = event.data.get("rolled_back") if state.operation == ROLLBACK else None
    return f"{event.data.get('active')} active" if back is None else f"{back} rolled back"


def _whole(seconds: object) -> str:
    return f"{seconds:.0f}" if isinstance(seconds, (int, float)) else str(seconds)


def _left(state: RolloutState) -> str:
    count = state.count(SKIPPED)
    return (
        f", {count} device{'s' if count > 1 else ''} left as {'they were' if count > 1 else 'it was'}" if count else ""
    )
