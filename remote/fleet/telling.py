"""What one board says while it is worked on: stages for the ledger, progress for whoever watches, a way to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from jetlane.remote.fleet.observer import Progress
from jetlane.remote.fleet.state import BUILDING, SHIPPING, VERIFYING

#: Stages in which a board switches: it is given so many seconds to come to the end of that, before it is left to it.
_SWITCHING, _GRACE = ("activate", "rollback"), 10.0
_STAGES = {"ship": SHIPPING, "build": BUILDING, "verify": VERIFYING}


class Interrupted(Exception):
    """The work on a board was given up.

    Attributes:
        switching: The board was at a switch, and nobody knows which of the two releases it runs now; else it goes on
            with what it ran.
    """

    def __init__(self, device: str, stage: str) -> None:
        super().__init__(f"{device}: given up at {stage or 'the beginning'}")
        self.switching = stage in _SWITCHING


class Teller:
    """The ``tell`` of one piece of work on one board.

    Args:
        interrupt: When set, the work ends: at once, or, while the board is switching, a little later.
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
        self._interrupted: Optional[float] = None

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

    def given_up(self) -> Optional[Exception]:
        """Why the work is to end now; None while it goes on."""
        if not self._interrupt.is_set():
            return None
        self._interrupted = self._interrupted or time.monotonic()
        if self._stage in _SWITCHING and time.monotonic() < self._interrupted + _GRACE:
            return None
        return Interrupted(self._device, self._stage)

    def _refuse(self, stage: str) -> None:
        if self._interrupt.is_set() and stage not in _SWITCHING:
            raise Interrupted(self._device, stage)

    def _say(self, done: Optional[float] = None, total: Optional[float] = None, note: str = "") -> None:
        unit = "bytes" if self._stage == "ship" else ""
        seconds = time.monotonic() - self._since
        self._watch(Progress(self._rollout, self._device, self._stage, done, total, unit, seconds, note))
