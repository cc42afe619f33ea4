"""What one board says while it is worked on: stages for the ledger, progress for whoever watches, a way to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from jetlane.remote.fleet.observer import Progress
from jetlane.remote.fleet.state import BUILDING, SHIPPING, VERIFYING

_STAGES = {"ship": SHIPPING, "build": BUILDING, "verify": VERIFYING}


class Interrupted(Exception):
    """The work on a board was given up between two steps; the board goes on with what it runs."""


class Teller:
    """The ``tell`` of one piece of work on one board.

    Args:
        interrupt: When set, the work ends at the next word of the board, unless that is switching already.
        on_stage: Called with the device and its new state.
        watch: Gets the progress.
    """

    def __init__(
        self,
        rollout: str,
        device: str,
        interrupt: threading.Event,
        on_stage: Callable[[str, str], None],
        watch: Callable[[Progress], None],
    ) -> None:
        self._rollout, self._device = rollout, device
        self._interrupt, self._on_stage, self._watch = interrupt, on_stage, watch
        self._stage, self._since = "", time.monotonic()

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event.get("event")
        if kind == "phase":
            self._refuse(str(event["phase"]))
            self._stage, self._since = str(event["phase"]), time.monotonic()
            if self._stage in _STAGES:
                self._on_stage(self._device, _STAGES[self._stage])
            self._say()
        else:
            self._refuse(self._stage)
            if kind in ("progress", "heartbeat"):
                self._say(event.get("done"), event.get("total"), str(event.get("note") or event.get("step") or ""))

    def _refuse(self, stage: str) -> None:
        if self._interrupt.is_set() and stage not in ("activate", "rollback"):
            raise Interrupted(f"{self._device}: stopped at {stage}")

    def _say(self, done: Optional[float] = None, total: Optional[float] = None, note: str = "") -> None:
        unit = "bytes" if self._stage == "ship" else ""
        seconds = time.monotonic() - self._since
        self._watch(Progress(self._rollout, self._device, self._stage, done, total, unit, seconds, note))
