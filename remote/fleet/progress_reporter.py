"""Turns the events of one operation on one device into ledger stages and progress, and lets the session end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from jetlane.remote.fleet.observer import StageProgress
from jetlane.remote.fleet.state import BUILDING, SHIPPING, VERIFYING

#: Stages in which a device switches releases: it gets so many seconds to complete them before the connection is closed.
_SWITCHING, _GRACE = ("activate", "rollback"), 10.0
_STAGES = {"ship": SHIPPING, "build": BUILDING, "verify": VERIFYING}


class Interrupted(Exception):
    """The operation on a device was ended from here.

    Attributes:
        switching: The device was switching, and which of the two releases it runs now is unknown; else it runs what it
            ran before.
    """

    def __init__(self, device: str, stage: str) -> None:
        super().__init__(f"{device}: given up at {stage or 'the beginning'}")
        self.switching = stage in _SWITCHING


class ProgressReporter:
    """The ``Reporter`` of one operation on one device.

    Args:
        interrupt: When set, the operation ends: at once, or a little later while the device is switching.
        on_stage: Called with the device and its new state.
        on_progress: Called with the progress within a stage.
    """

    def __init__(
        self,
        rollout: str,
        device: str,
        interrupt: threading.Event,
        on_stage: Callable[[str, str], None],
        on_progress: Callable[[StageProgress], None],
    ) -> None:
        self._rollout, self._device = rollout, device
        self._interrupt, self._on_stage, self._on_progress = interrupt, on_stage, on_progress
        self._stage, self._since = "", time.monotonic()
        self._interrupted: Optional[float] = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        kind = event.get("event")
        if kind == "phase":
            self._raise_if_interrupted(str(event["phase"]))
            self._stage, self._since = str(event["phase"]), time.monotonic()
            if self._stage in _STAGES:
                self._on_stage(self._device, _STAGES[self._stage])
            self._report()
        else:
            self._raise_if_interrupted(self._stage)
            if kind in ("progress", "heartbeat"):
                self._report(event.get("done"), event.get("total"), str(event.get("note") or event.get("step") or ""))

    def given_up(self) -> Optional[Exception]:
        """Why the operation has to end now; None while it may continue."""
        if not self._interrupt.is_set():
            return None
        self._interrupted = self._interrupted or time.monotonic()
        if self._stage in _SWITCHING and time.monotonic() < self._interrupted + _GRACE:
            return None
        return Interrupted(self._device, self._stage)

    def _raise_if_interrupted(self, stage: str) -> None:
        if self._interrupt.is_set() and stage not in _SWITCHING:
            raise Interrupted(self._device, stage)

    def _report(self, done: Optional[float] = None, total: Optional[float] = None, note: str = "") -> None:
        unit = "bytes" if self._stage == "ship" else ""
        seconds = time.monotonic() - self._since
        self._on_progress(StageProgress(self._rollout, self._device, self._stage, done, total, unit, seconds, note))
