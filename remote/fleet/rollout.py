"""The engine: takes a rollout from where the ledger says it is to its end.

It may die at any moment. Whoever runs it again finds in the ledger what was decided, and on the boards what was done.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional, Protocol

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.boards import Boards
from jetlane.remote.fleet.crew import Crew, Job, Settle
from jetlane.remote.fleet.devices import Devices
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import Observer, Silent
from jetlane.remote.fleet.policy import ROLLBACK_ALL, ROLLBACK_WAVE, STOP
from jetlane.remote.fleet.state import ACTIVE, SKIPPED, RolloutState
from jetlane.remote.fleet.tenure import Tenure
from jetlane.remote.fleet.work import Backoff, Clock, Executor, Threads

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport


@dataclass(frozen=True)
class Answer:
    """A person's word on whether the next wave begins."""

    approved: bool
    by: str
    note: str = ""


class Approver(Protocol):
    """Asks a person. Not needed: an answer may also come through the ledger (``controls.answer``)."""

    def ask(self, state: RolloutState, wave: int) -> Optional[Answer]:
        """The answer; None to wait for one in the ledger."""


class Rollout:
    """One rollout in this process.

    Args:
        rollout: Its id; ``begin`` wrote its first event.
        boards: The devices.
        observer: Who watches.
        approver: Who asks a person between waves.
        on_report: Gets each delivery's report as it comes; none is kept here.
        executor: Where devices are worked on; threads of this process.
    """

    def __init__(
        self,
        ledger: Ledger,
        rollout: str,
        boards: Boards,
        *,
        observer: Optional[Observer] = None,
        approver: Optional[Approver] = None,
        on_report: Optional[Callable[[DeviceReport], None]] = None,
        executor: Optional[Executor] = None,
        clock: Optional[Clock] = None,
        backoff: Optional[Backoff] = None,
    ) -> None:
        self._clock = clock or Clock()
        self._executor = executor or Threads(ledger.state(rollout).policy.concurrency)
        self._approver = approver
        self._tenure = Tenure(ledger, rollout, observer or Silent())
        self._crew = Crew(self._tenure, self._executor, self._clock)
        report = on_report or (lambda report: None)
        self._devices = Devices(self._tenure, boards, report, self._clock, backoff or Backoff())

    @property
    def state(self) -> RolloutState:
        """What is known of it."""
        return self._tenure.state

    def run(self) -> RolloutState:
        """Go on until the rollout has ended.

        Raises:
            DeviceError: Another process works on one of the devices, or took this rollout over.
        """
        with self._tenure.attached(self._executor.close):
            if not self.state.ended:
                if self.state.operation == states.ROLLOUT:
                    known = self.state.devices.values()
                    self._devices.unconfirmed = {device.name for device in known if device.state == ACTIVE}
                for number in range(len(self.state.waves)):
                    self._wave(number)
                    if self._tenure.halted:
                        break
                self._wind_down()
        return self.state

    def _wave(self, number: int) -> None:
        """One wave from its approval to its second health check; of one that has ended, what is to be asked again."""
        wave, over = self.state.waves[number], number in self.state.ended_waves
        todo = [n for n in wave if not self.state.devices[n].final or n in self._devices.unconfirmed]
        if over:
            self._crew.each(todo, *self._jobs())
            return
        if number and self.state.policy.approval:
            self._await_approval(number)
        if self._tenure.halted:
            return
        if number > self.state.wave:
            self._tenure.record("wave_started", wave=number, devices=len(wave))
        self._crew.each(todo, *self._jobs())
        if not self._tenure.halted:
            self._soak(number)
            self._devices.judge()
        if not self._tenure.halted:
            active, failed = self.state.count(ACTIVE), self.state.failures
            self._tenure.record("wave_ended", wave=number, active=active, failed=failed)

    def _jobs(self) -> tuple[Job, Settle]:
        if self.state.operation == states.ROLLBACK:
            return self._devices.go_back, self._devices.gone_back
        return self._devices.deliver, self._devices.delivered

    def _await_approval(self, number: int) -> None:
        def known() -> bool:
            return number in self.state.approved or self._tenure.halted

        if number not in self.state.asked:
            self._tenure.record("approval_asked", wave=number)
        if not known() and self._approver is not None:
            self._take_answer(number, self._approver.ask(self.state, number))
        self._crew.pause(math.inf, known)

    def _take_answer(self, number: int, answer: Optional[Answer]) -> None:
        if answer is None:
            return
        if answer.approved:
            self._tenure.record("approved", wave=number, by=answer.by, note=answer.note)
            return
        reason = f"wave {number + 1} was not approved by {answer.by}" + (f": {answer.note}" if answer.note else "")
        scope = self.state.policy.on_failure
        self._tenure.record("rejected", wave=number, by=answer.by, reason=reason, scope=scope)

    def _soak(self, number: int) -> None:
        """Let the wave's devices work for a while, then ask for their health once more."""
        soak = self.state.policy.soak
        devices = [self.state.devices[name] for name in self.state.waves[number]]
        names = [device.name for device in devices if device.state == ACTIVE and not device.soaked]
        if not soak or not names:
            return
        self._crew.pause(self._soak_left(number, soak), lambda: self._tenure.halted)
        self._crew.each(names, self._devices.check, self._devices.checked)

    def _soak_left(self, number: int, soak: float) -> float:
        """Seconds that a wave still has to wait.

        They are counted by a clock that runs from this machine's start, so that whoever takes a rollout up on the same
        machine waits for the rest, and no hour that somebody's clock jumps is taken for time gone by. On another
        machine, or after a restart, nobody can tell how long it was: the waiting begins anew.
        """
        boot, began = self.state.soaking.get(number, ("", 0.0))
        passed = self._clock.now() - began
        if boot != self._tenure.boot or not passed >= 0:
            passed = 0.0
            clock = {"boot": self._tenure.boot, "clock": self._clock.now()}
            self._tenure.record("wave_soaking", wave=number, seconds=soak, **clock)
        return soak - passed

    def _wind_down(self) -> None:
        """Nobody is left between states, and the rollout has an outcome."""
        state = self.state
        why = f"aborted by {state.aborted_by}" if state.aborted_by else state.stopping
        for device in list(state.devices.values()):
            if not device.final:
                self._tenure.record("device", device.name, state=SKIPPED, reason=f"left as it was: {why}")
        if state.stopping and not state.aborted_by and state.scope != STOP:
            self._put_back()
        bad = [device.name for device in state.devices.values() if device.failed]
        if state.aborted_by:
            outcome = states.ABORTED
        elif state.stopping:
            outcome = states.STOPPED
        else:
            outcome, why = (states.INCOMPLETE if bad else states.SUCCEEDED), ""
        self._tenure.record("ended", outcome=outcome, reason=why, failed=bad)

    def _put_back(self) -> None:
        """Undo what this rollout did, as far as its policy says."""
        reach = {ROLLBACK_WAVE: [self.state.stopped_in], ROLLBACK_ALL: range(len(self.state.waves))}[self.state.scope]
        names = []
        for device in list(self.state.devices.values()):
            if device.wave in reach and device.state == ACTIVE and device.changed:
                if device.previous:
                    names.append(device.name)
                else:
                    reason = "nothing was there to go back to"
                    self._tenure.record("device", device.name, state=ACTIVE, reason=reason)
        self._tenure.interrupt.clear()
        self._crew.each(names, self._devices.undo, self._devices.undone, although_stopping=True)
