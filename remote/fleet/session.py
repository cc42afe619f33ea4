"""A rollout session: one process works on a rollout. It holds the leases, writes the events, polls for requests."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.leases import LeaseLost, keep_renewing
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.observer import Observer, StageProgress
from jetlane.remote.fleet.state import Event, RolloutState
from jetlane.specs.errors import DeviceError, JetlaneError

_log = logging.getLogger("jetlane.fleet")
#: Events that other processes may write about a rollout that is in progress.
CONTROLS = ("paused", "resumed", "abort", "approved", "rejected", "ended")


class RolloutSession:
    """One rollout, its state as the ledger has it, and the right to change both.

    Attributes:
        state: What the rollout's events add up to (``state.fold``); every event passes through here.
        interrupt: Set when work on devices has to end at the device's next message.
    """

    def __init__(self, ledger: Ledger, rollout: str, observer: Observer) -> None:
        self.id, self.state = rollout, RolloutState(rollout)
        self.interrupt = threading.Event()
        self._ledger, self._observer = ledger, observer
        self._lock = threading.RLock()
        self._polled = 0
        self._own: set[int] = set()
        self._lost: Optional[JetlaneError] = None

    @property
    def boot(self) -> str:
        """This machine since it was started; readings of its monotonic clock mean nothing on another."""
        return self._ledger.leases.holder.boot

    @property
    def halted(self) -> bool:
        """Whether no further device may be started."""
        return bool(self.state.stopping or self.state.aborted_by)

    def record(self, kind: str, device: Optional[str] = None, runs: Optional[str] = None, /, **data: Any) -> None:
        """Write an event, apply it to the state, and notify the observer.

        Raises:
            LedgerError: It cannot be written; work on devices ends at their next message.
        """
        with self._lock:
            try:
                event = self._ledger.append(self.id, kind, device, runs, **data)
            except LedgerError as error:  # every thread stops: what cannot be recorded must not be done
                self._lost = error
                self.interrupt.set()
                raise
            if kind in CONTROLS:
                self._own.add(event.number)
            self.state.apply(event)
            self._notify(lambda: self._observer.recorded(event, self.state))

    def last_change(self, device: str) -> Optional[Event]:
        """The event by which a device last came to another release, in any rollout."""
        for event in reversed(self._ledger.events(device=device)):
            back = event.data.get("state") == states.ROLLED_BACK and event.runs is not None
            if event.data.get("changed", back):
                return event
        return None

    def report(self, progress: StageProgress) -> None:
        """Notify the observer of progress, which is not recorded."""
        with self._lock:
            self._notify(lambda: self._observer.progress(progress))

    def poll(self) -> None:
        """Apply what other processes wrote about this rollout.

        Raises:
            LeaseLost: One of them took it over.
            LedgerError: An event could not be written, or the ledger cannot be read.
        """
        if self._lost is not None:
            raise self._lost
        for event in self._ledger.events(self.id, after=self._polled, kinds=CONTROLS):
            self._polled = event.number
            if event.number in self._own:
                continue
            with self._lock:
                self.state.apply(event)
                self._notify(lambda event=event: self._observer.recorded(event, self.state))  # type: ignore[misc]
        if self.state.ended:
            raise LeaseLost(f"rollout {self.id} was ended by another process", self.state.reason)

    @contextmanager
    def attached(self, close: Callable[[], None]) -> Iterator[None]:
        """Hold the devices' leases, and with them the right to work on this rollout.

        Args:
            close: Called at the end, before the leases are released; returns when no thread works on a device any more.

        Raises:
            DeviceError: Another process holds one of the leases.
        """
        self.state = self._ledger.state(self.id)
        self._take_leases()
        ended = threading.Event()
        renewed = (self._ledger.leases, self.id, ended, self._lose)
        heartbeat = threading.Thread(target=keep_renewing, args=renewed, daemon=True)
        try:
            self.state = self._ledger.state(self.id)  # as the previous holder of the leases left it
            self._polled = self.state.last
            heartbeat.start()
            if not self.state.ended:
                self.record("attached", process=str(self._ledger.leases.holder))
            yield
        finally:
            self.interrupt.set()
            close()
            ended.set()
            self._release_leases()

    def _take_leases(self) -> None:
        try:
            self._ledger.leases.take(self.id, self.state.addresses)
        except DeviceError:
            if not self.state.orchestrator and self._ledger.leases.held(self.id) is None:
                # created a moment after another one: it must not be resumed later
                self._ledger.append(self.id, "ended", outcome=states.SUPERSEDED, reason="another rollout was faster")
            raise

    def _release_leases(self) -> None:
        try:
            self._ledger.leases.release(self.id)
        except LedgerError as error:  # they expire with this process; the error itself is reported where it was noticed
            _log.warning("the leases of rollout %s were not released: %s", self.id, error.what)

    def _lose(self, error: LeaseLost) -> None:
        self._lost = error
        self.interrupt.set()

    def _notify(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # an observer's failure must not fail the rollout
            _log.warning("an observer of rollout %s failed", self.id, exc_info=True)
