"""The engine: takes a rollout from where the ledger says it is to its end.

Its process may die at any moment. The next one finds in the ledger what was decided, and on the devices what was done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Protocol

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.device_jobs import DeviceJobs
from jetlane.remote.fleet.device_operations import DeviceOperations
from jetlane.remote.fleet.execution import Backoff, Clock, Executor, Threads
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import NullObserver, Observer
from jetlane.remote.fleet.rules import ROLLBACK_ALL, ROLLBACK_WAVE, STOP, seconds
from jetlane.remote.fleet.scheduler import Job, RecordOutcome, Scheduler
from jetlane.remote.fleet.session import RolloutSession
from jetlane.remote.fleet.state import ACTIVE, SKIPPED, RolloutState

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport


@dataclass(frozen=True)
class Answer:
    """A person's decision on whether the next wave begins."""

    approved: bool
    by: str
    note: str = ""


class Approver(Protocol):
    """Asks a person. Optional: an answer may also come through the ledger (``controls.answer``)."""

    def ask(self, state: RolloutState, wave: int, decided: Callable[[], bool]) -> Optional[Answer]:
        """Return the answer; None to wait for one in the ledger.

        Args:
            decided: Looks into the ledger, from any thread: whether there is nothing to ask any more, as somebody
                answered, paused or aborted elsewhere. To be called every half second while a person thinks.
        """


class Rollout:
    """Runs one rollout in this process.

    Args:
        rollout: Its id; ``create_or_resume`` wrote its first event.
        operations: What can be done to the devices.
        observer: Is notified of events and progress.
        approver: Asks a person between waves.
        on_report: Gets the report of each delivery; none is kept here.
        executor: Where devices are worked on; threads of this process unless given.
    """

    def __init__(
        self,
        ledger: Ledger,
        rollout: str,
        operations: DeviceOperations,
        *,
        observer: Optional[Observer] = None,
        approver: Optional[Approver] = None,
        on_report: Optional[Callable[[DeviceReport], None]] = None,
        executor: Optional[Executor] = None,
        clock: Optional[Clock] = None,
        backoff: Optional[Backoff] = None,
    ) -> None:
        self._clock = clock or Clock()
        self._executor = executor or Threads(ledger.state(rollout).rules.concurrency)
        self._approver = approver
        self._session = RolloutSession(ledger, rollout, observer or NullObserver())
        self._scheduler = Scheduler(self._session, self._executor, self._clock)
        report = on_report or (lambda report: None)
        self._device_jobs = DeviceJobs(self._session, operations, report, self._clock, backoff or Backoff())

    @property
    def state(self) -> RolloutState:
        """Its state, as the ledger has it."""
        return self._session.state

    def run(self) -> RolloutState:
        """Continue until the rollout has ended.

        Raises:
            DeviceError: Another process works on one of the devices, or took over this rollout.
        """
        with self._session.attached(self._executor.close):
            if not self.state.ended:
                if self.state.operation == states.ROLLOUT:
                    known = self.state.devices.values()
                    self._device_jobs.unconfirmed = {device.name for device in known if device.state == ACTIVE}
                for number in range(len(self.state.waves)):
                    self._run_wave(number)
                    if self._session.halted:
                        break
                self._wind_down()
        return self.state

    def _run_wave(self, number: int) -> None:
        """Run a wave from its approval to its second health check; of one that has ended, confirm its devices again."""
        wave, ended = self.state.waves[number], number in self.state.ended_waves
        todo = [n for n in wave if not self.state.devices[n].final or n in self._device_jobs.unconfirmed]
        if ended:
            self._scheduler.run_each(todo, *self._job())
            return
        if number and self.state.rules.approval:
            self._await_approval(number)
        if self._session.halted:
            return
        if number > self.state.wave:
            self._session.record("wave_started", wave=number, devices=len(wave))
        self._scheduler.run_each(todo, *self._job())
        if not self._session.halted:
            self._soak(number)
            self._device_jobs.stop_if_exceeded()
        if not self._session.halted:
            counts = {"active": self.state.count(ACTIVE), "failed": self.state.failures}
            if self.state.operation == states.ROLLBACK:
                counts["rolled_back"] = self.state.done
            self._session.record("wave_ended", wave=number, **counts)

    def _job(self) -> tuple[Job, RecordOutcome]:
        if self.state.operation == states.ROLLBACK:
            return self._device_jobs.rollback, self._device_jobs.record_rollback
        return self._device_jobs.deliver, self._device_jobs.record_delivery

    def _await_approval(self, number: int) -> None:
        def answered() -> bool:
            return number in self.state.approved or self._session.halted

        if number not in self.state.asked:
            self._session.record("approval_asked", wave=number)
        while not answered() and self._approver is not None:
            self._scheduler.wait(math.inf, lambda: answered() or not self.state.paused_by)
            if answered():
                break
            self._record_answer(number, self._approver.ask(self.state, number, lambda: self._heard(answered)))
            if not self.state.paused_by:
                break
        self._scheduler.wait(math.inf, answered)

    def _heard(self, answered: Callable[[], bool]) -> bool:
        """Whether another process answered, paused or stopped the rollout."""
        self._session.poll()
        return answered() or bool(self.state.paused_by)

    def _record_answer(self, number: int, answer: Optional[Answer]) -> None:
        if answer is None or number in self.state.approved or self._session.halted:
            return
        if answer.approved:
            self._session.record("approved", wave=number, by=answer.by, note=answer.note)
            return
        reason = f"wave {number + 1} was not approved by {answer.by}" + (f": {answer.note}" if answer.note else "")
        scope = self.state.rules.on_failure
        self._session.record("rejected", wave=number, by=answer.by, reason=reason, scope=scope)

    def _soak(self, number: int) -> None:
        """Wait while the wave's devices run the release, then check their health again."""
        soak = seconds(self.state.rules.soak)
        devices = [self.state.devices[name] for name in self.state.waves[number]]
        names = [device.name for device in devices if device.state == ACTIVE and not device.soaked]
        if not soak or not names:
            return
        self._scheduler.wait(self._soak_left(number, soak), lambda: self._session.halted)
        self._scheduler.run_each(names, self._device_jobs.check_health, self._device_jobs.record_health)

    def _soak_left(self, number: int, soak: float) -> float:
        """Seconds that a wave still has to wait.

        They are counted by a clock that starts with this machine, so that a process that resumes the rollout on the
        same machine waits for the rest, and a wall clock that jumps shortens nothing. On another machine, or after a
        restart, the time that has passed is unknown: the waiting starts again.
        """
        boot, began = self.state.soaking.get(number, ("", 0.0))
        passed = self._clock.now() - began
        if boot != self._session.boot or not passed >= 0:
            passed = 0.0
            clock = {"boot": self._session.boot, "clock": self._clock.now()}
            self._session.record("wave_soaking", wave=number, seconds=soak, **clock)
        return soak - passed

    def _wind_down(self) -> None:
        """Give every device a final state and the rollout an outcome."""
        state = self.state
        why = f"aborted by {state.aborted_by}" if state.aborted_by else state.stopping
        for device in list(state.devices.values()):
            if not device.final:
                self._session.record("device", device.name, state=SKIPPED, reason=f"left as it was: {why}")
        if state.stopping and not state.aborted_by and state.scope != STOP:
            self._rollback_devices()
        bad = [device.name for device in state.devices.values() if device.failed]
        undone = state.operation == states.ROLLBACK and state.done < len(state.devices)
        if state.aborted_by:
            outcome = states.ABORTED
        elif state.stopping:
            outcome = states.STOPPED
        else:
            outcome, why = (states.INCOMPLETE if bad or undone else states.SUCCEEDED), ""
        self._session.record("ended", outcome=outcome, reason=why, failed=bad)

    def _rollback_devices(self) -> None:
        """Roll back the devices that this rollout changed, as its rules say."""
        reach = {ROLLBACK_WAVE: [self.state.stopped_in], ROLLBACK_ALL: range(len(self.state.waves))}[self.state.scope]
        names = []
        for device in list(self.state.devices.values()):
            if device.wave in reach and device.state == ACTIVE and device.changed:
                if device.previous:
                    names.append(device.name)
                else:
                    reason = "nothing was there to roll back to"
                    self._session.record("device", device.name, state=ACTIVE, reason=reason)
        self._session.interrupt.clear()
        jobs = self._device_jobs
        self._scheduler.run_each(
            names, jobs.rollback_after_stop, jobs.record_rollback_after_stop, although_stopping=True
        )
