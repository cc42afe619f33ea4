"""A rollout in Prefect's pages: a table of the fleet, and a progress bar per wave."""

from __future__ import annotations

import threading
from typing import Any

from prefect.artifacts import create_progress_artifact, create_table_artifact, update_progress_artifact

from jetlane.remote.fleet.observer import StageProgress
from jetlane.remote.fleet.state import Event, RolloutState
from jetlane.remote.fleet.views import devices, shown_state
from jetlane.specs.support.background import BackgroundThread
from jetlane.specs.support.text import human_size

#: Seconds between two versions of the table: each is a row in Prefect's database.
INTERVAL = 3.0


class FleetArtifacts(BackgroundThread):
    """An ``Observer`` that keeps a table artifact of the fleet, and a progress artifact a wave.

    Publishing happens in a thread of its own, at most every few seconds, so that no device waits for Prefect's server.
    """

    def __init__(self) -> None:
        self._rows: dict[str, dict[str, Any]] = {}
        self._waves: dict[int, float] = {}
        self._bars: dict[int, tuple[Any, float]] = {}
        self._dirty = False
        self._lock = threading.Lock()
        super().__init__("jetlane-artifacts")  # which belong to the flow run whose context this is

    def recorded(self, event: Event, state: RolloutState) -> None:
        with self._lock:
            self._dirty = True
            if event.device is None or not self._rows:
                self._rows = {row["device"]: row for row in devices(state)}
            elif event.device in state.devices:
                one = RolloutState(state.id, devices={event.device: state.devices[event.device]})
                self._rows[event.device] = devices(one)[0]
            if 0 <= state.wave < len(state.waves):
                names = state.waves[state.wave]
                self._waves[state.wave] = 100.0 * sum(state.devices[name].final for name in names) / len(names)

    def progress(self, progress: StageProgress) -> None: ...

    def run_until_ended(self) -> None:
        while not self.ended.wait(INTERVAL):
            self._publish()
        self._publish()

    def _publish(self) -> None:
        with self._lock:
            if not self._dirty:
                return
            self._dirty = False
            rows, waves = [dict(row) for row in self._rows.values()], dict(self._waves)
        create_table_artifact([_shown(row) for row in rows], key="fleet", description="the devices of the rollout")
        for wave, percent in waves.items():
            if wave not in self._bars:
                bar = create_progress_artifact(percent, key=f"wave-{wave + 1}", description=f"wave {wave + 1}")
                self._bars[wave] = (bar, percent)
            elif self._bars[wave][1] != percent:
                update_progress_artifact(self._bars[wave][0], progress=percent)
                self._bars[wave] = (self._bars[wave][0], percent)


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people: what was sent and how long it took in their units, the engine by the beginning of its key."""
    sent, took = row.pop("bytes"), row.pop("seconds")
    row["state"] = shown_state(row["state"])
    row["engine"] = row["engine"][:12]
    row["sent"] = human_size(sent) if isinstance(sent, (int, float)) and sent else ""
    row["took"] = f"{took:.1f} s" if isinstance(took, (int, float)) else ""
    return row
