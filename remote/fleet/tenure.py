"""To be the one who works on a rollout: holding its devices' leases, writing its events, hearing what others ask."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.faults import LedgerError
from jetlane.remote.fleet.leases import BEAT, LeaseLost
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import Observer, Progress
from jetlane.remote.fleet.state import RolloutState
from jetlane.specs.errors import DeviceError, JetlaneError

_log = logging.getLogger("jetlane.fleet")
#: What other processes may write about a rollout that is under way.
CONTROLS = ("paused", "resumed", "abort", "approved", "rejected", "ended")


class Tenure:
    """One rollout, its state as the ledger has it, and the right to change both.

    Attributes:
        state: The fold of the rollout's events; every event goes through here.
        interrupt: Set when the work on devices is to be given up at their next word.
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
        """This machine since it was switched on; a steady clock's seconds mean nothing on another."""
        return self._ledger.leases.holder.boot

    @property
    def halted(self) -> bool:
        """Whether no further device is to be begun."""
        return bool(self.state.stopping or self.state.aborted_by)

    def record(self, kind: str, device: Optional[str] = None, runs: Optional[str] = None, /, **data: Any) -> None:
        """Write an event, take it in, tell it.

        Raises:
            LedgerError: It cannot be written; the work on devices is given up at their next word.
        """
        with self._lock:
            try:
                event = self._ledger.append(self.id, kind, device, runs, **data)
            except LedgerError as error:  # whoever hears of it first, all stop: what cannot be written is not done
                self._lost = error
                self.interrupt.set()
                raise
            if kind in CONTROLS:
                self._own.add(event.number)
            self.state.apply(event)
            self._tell(lambda: self._observer.recorded(event, self.state))

    def watch(self, progress: Progress) -> None:
        """Tell what is not written down."""
        with self._lock:
            self._tell(lambda: self._observer.progress(progress))

    def look(self) -> None:
        """Take in what other processes wrote about this rollout.

        Raises:
            LeaseLost: One of them took it over.
            LedgerError: Something could not be written, or cannot be read.
        """
        if self._lost is not None:
            raise self._lost
        for event in self._ledger.events(self.id, after=self._polled, kinds=CONTROLS):
            self._polled = event.number
            if event.number in self._own:
                continue
            with self._lock:
                self.state.apply(event)
                self._tell(lambda event=event: self._observer.recorded(event, self.state))  # type: ignore[misc]
        if self.state.ended:
            raise LeaseLost(f"rollout {self.id} was ended by another process", self.state.reason)

    @contextmanager
    def attached(self, close: Callable[[], None]) -> Iterator[None]:
        """Hold the devices' leases, and be the one who works on this rollout.

        Args:
            close: Called at the end, before the leases are given back; returns when nobody touches a device any more.

        Raises:
            DeviceError: Another process holds one.
        """
        self.state = self._ledger.state(self.id)
        self._take()
        ended = threading.Event()
        heart = threading.Thread(target=self._beat, args=(ended,), daemon=True)
        try:
            self.state = self._ledger.state(self.id)  # as whoever held the leases left it
            self._polled = self.state.last
            heart.start()
            if not self.state.ended:
                self.record("attached", process=str(self._ledger.leases.holder))
            yield
        finally:
            self.interrupt.set()
            close()
            ended.set()
            self._release()

    def _take(self) -> None:
        try:
            self._ledger.leases.take(self.id, self.state.addresses)
        except DeviceError:
            if not self.state.orchestrator and self._ledger.leases.held(self.id) is None:
                # begun a moment after another one: it is not to be taken up later
                self._ledger.append(self.id, "ended", outcome=states.SUPERSEDED, reason="another rollout was faster")
            raise

    def _release(self) -> None:
        try:
            self._ledger.leases.release(self.id)
        except LedgerError as error:  # they end with this process; what stopped it is told by whoever noticed
            _log.warning("the leases of rollout %s were not given back: %s", self.id, error.what)

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                self._ledger.leases.renew(self.id)
            except LeaseLost as error:
                self._lost = error
                self.interrupt.set()
                return
            except Exception:  # the database is away for a moment; the lease outlives that
                _log.warning("the lease of rollout %s was not renewed", self.id)

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # a watcher's fault is not the rollout's
            _log.warning("somebody who watches rollout %s failed", self.id, exc_info=True)
