"""The engine: takes a rollout from where the ledger says it is to its end.

It may die at any moment. Whoever runs it again finds in the ledger what was decided, and on the boards what was done.
"""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.boards import PASSING, Boards, Seen
from jetlane.remote.fleet.leases import BEAT, LeaseLost
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.observer import Observer, Silent
from jetlane.remote.fleet.policy import ROLLBACK_ALL, ROLLBACK_WAVE, STOP
from jetlane.remote.fleet.state import ACTIVE, FAILED, ROLLED_BACK, SKIPPED, UNREACHABLE, RolloutState
from jetlane.remote.fleet.telling import Interrupted, Teller
from jetlane.remote.fleet.work import Backoff, Clock, Executor, Threads
from jetlane.specs.errors import DeviceError, JetlaneError

if TYPE_CHECKING:
    from jetlane.remote.delivery import DeviceReport

_log = logging.getLogger("jetlane.fleet")
#: Seconds between looks at what other processes ask for.
TICK = 0.5
#: A cut line or a busy board is given so many seconds, whatever the window for boards that are off.
PATIENCE = 30.0
#: What other processes may write about a rollout that is under way.
CONTROLS = ("paused", "resumed", "abort", "approved", "rejected", "ended")


@dataclass(frozen=True)
class Answer:
    """A person's word on whether the next wave begins."""

    approved: bool
    by: str
    note: str = ""


class Approver(Protocol):
    """Asks a person. Not needed: an answer may also come through the ledger (``controls.approve``)."""

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
        self._ledger, self._id, self._boards = ledger, rollout, boards
        self._observer, self._approver = observer or Silent(), approver
        self._on_report = on_report or (lambda report: None)
        self._given, self._clock, self._backoff = executor, clock or Clock(), backoff or Backoff()
        self._lock = threading.RLock()
        self._interrupt = threading.Event()
        self._polled = 0
        self._own: set[int] = set()
        self._unconfirmed: set[str] = set()
        self._lost: Optional[LeaseLost] = None
        self._ended_elsewhere = False
        self.state = RolloutState(rollout)

    def run(self) -> RolloutState:
        """Go on until the rollout has ended.

        Raises:
            DeviceError: Another process works on one of the devices, or took this rollout over.
        """
        with self._attached():
            if not self.state.ended:
                self._waves()
        return self.state

    # the story

    def _waves(self) -> None:
        for number, wave in enumerate(self.state.waves):
            todo = [name for name in wave if not self.state.devices[name].final or name in self._unconfirmed]
            over = number in self.state.ended_waves
            if over and not todo:
                continue
            if not over and number and self.state.policy.approval:
                self._await_approval(number)
            if self._halted():
                break
            if not over and number > self.state.wave:
                self._record("wave_started", wave=number, devices=len(wave))
            self._each(todo, self._jobs()[0], self._jobs()[1])
            if not over and not self._halted():
                self._soak(number)
                self._judge()
            if self._halted():
                break
            if not over:
                self._record("wave_ended", wave=number, active=self.state.count(ACTIVE), failed=self.state.failures)
        self._wind_down()

    def _jobs(self) -> tuple[Callable[[str], Any], Callable[[str, Any], Optional[float]]]:
        if self.state.operation == states.ROLLBACK:
            return self._go_back, self._gone_back
        return self._deliver, self._delivered

    def _await_approval(self, number: int) -> None:
        if number not in self.state.asked:
            self._record("approval_asked", wave=number)
        if not (number in self.state.approved or self._halted()) and self._approver is not None:
            answer = self._approver.ask(self.state, number)
            if answer is not None and answer.approved:
                self._record("approved", wave=number, by=answer.by, note=answer.note)
            elif answer is not None:
                reason = f"wave {number + 1} was not approved by {answer.by}"
                reason += f": {answer.note}" if answer.note else ""
                self._record("rejected", wave=number, by=answer.by, reason=reason, scope=self.state.policy.on_failure)
        while not (number in self.state.approved or self._halted()):
            self._clock.wait((), TICK)
            self._look()

    def _soak(self, number: int) -> None:
        """Let the wave's devices work for a while, then ask for their health once more."""
        soak = self.state.policy.soak
        devices = [self.state.devices[name] for name in self.state.waves[number]]
        names = [device.name for device in devices if device.state == ACTIVE and not device.soaked]
        if not soak or not names:
            return
        if number not in self.state.soaking_since:
            self._record("wave_soaking", wave=number, seconds=soak)
        while (left := self.state.soaking_since[number] + soak - self._clock.now()) > 0 and not self._halted():
            self._clock.wait((), min(TICK, left))
            self._look()
        self._each(names, self._check, self._checked)

    def _wind_down(self) -> None:
        """Nobody is left between states, and the rollout has an outcome."""
        state = self.state
        why = f"aborted by {state.aborted_by}" if state.aborted_by else state.stopping
        for device in list(state.devices.values()):
            if not device.final:
                self._record("device", device.name, state=SKIPPED, reason=f"left as it was: {why}")
        if state.stopping and not state.aborted_by and state.scope != STOP:
            self._put_back()
        bad = [device.name for device in state.devices.values() if device.failed]
        if state.aborted_by:
            outcome = states.ABORTED
        elif state.stopping:
            outcome = states.STOPPED
        else:
            outcome, why = (states.INCOMPLETE if bad else states.SUCCEEDED), ""
        self._record("ended", outcome=outcome, reason=why, failed=bad)

    def _put_back(self) -> None:
        """Undo what this rollout did, as far as its policy says."""
        reach = {ROLLBACK_WAVE: [self.state.stopped_in], ROLLBACK_ALL: range(len(self.state.waves))}[self.state.scope]
        names = []
        for device in list(self.state.devices.values()):
            if device.wave in reach and device.state == ACTIVE and device.changed:
                if device.previous:
                    names.append(device.name)
                else:
                    self._record("device", device.name, state=ACTIVE, reason="nothing was there to go back to")
        self._interrupt.clear()
        tries: dict[str, tuple[int, float]] = {}

        def settle(name: str, outcome: Any) -> Optional[float]:
            device, why = self.state.devices[name], self.state.stopping
            if not isinstance(outcome, Exception) or _kind(outcome) == "unhealthy":
                text = f"put back: {why}" if not isinstance(outcome, Exception) else str(outcome)
                self._record("device", name, device.previous, state=ROLLED_BACK, reason=text, judged=False)
                return None
            now = self._clock.now()
            count, since = tries.get(name, (0, now))
            tries[name] = (count + 1, since)
            again = self._backoff.next(count + 1, since, self._window(outcome), now) if _passing(outcome) else None
            if again is None and not isinstance(outcome, Interrupted):
                text = f"could not be put back: {outcome}"
                self._record("device", name, state=ACTIVE, reason=text, kind=_kind(outcome))
            return again

        def work(name: str) -> None:
            self._boards.put_back(name, str(self.state.devices[name].previous), self._teller(name))

        self._each(names, work, settle, although_stopping=True)

    # one device

    def _deliver(self, name: str) -> Any:
        return self._boards.deliver(name, self._teller(name, self._stage_begins))

    def _stage_begins(self, name: str, stage: str) -> None:
        """What the ledger knows of a delivery that is under way."""
        device = self.state.devices[name]
        if device.state == ACTIVE:  # taken up from a dead orchestrator, and the board knows better
            self._reconciled(name, "it does not run the release any more")
        self._record("device", name, state=stage)

    def _delivered(self, name: str, outcome: Any) -> Optional[float]:
        device = self.state.devices[name]
        if isinstance(outcome, Exception):
            if name in self._unconfirmed and device.state == ACTIVE and _passing(outcome):
                return None  # it was active when last seen, and cannot be asked now: nothing is known against it
            return self._failed(name, outcome)
        self._unconfirmed.discard(name)
        self._on_report(outcome)
        unchanged = outcome.state == "unchanged"
        if unchanged and device.state == ACTIVE:
            return None
        ours = device.changed or not unchanged or device.state not in (states.PENDING, UNREACHABLE)
        if unchanged and ours:
            self._reconciled(name, "it runs the release already")
        facts = {
            "engine": outcome.engine,
            "road": outcome.road,
            "bytes": outcome.bytes_sent,
            "seconds": dict(outcome.seconds),
        }
        self._record(
            "device",
            name,
            self.state.release,
            state=ACTIVE,
            changed=ours,
            previous=outcome.previous,
            reason="; ".join(outcome.skipped),
            facts=facts,
        )
        return None

    def _reconciled(self, name: str, board: str) -> None:
        self._record("reconciled", name, ledger=self.state.devices[name].state, board=board)

    def _check(self, name: str) -> str:
        """The second health check: ``""`` when all is well, else why the board was put back."""
        tell = self._teller(name)
        try:
            self._boards.check(name, tell)
            return ""
        except JetlaneError as error:
            device = self.state.devices[name]
            if _passing(error) or not (device.changed and device.previous):
                raise
            self._boards.put_back(name, device.previous, tell)
            return str(error)

    def _checked(self, name: str, outcome: Any) -> Optional[float]:
        if isinstance(outcome, Exception):
            return self._failed(name, outcome)
        if outcome:
            previous = self.state.devices[name].previous
            self._record("device", name, previous, state=ROLLED_BACK, reason=outcome, kind="unhealthy")
            self._judge()
        else:
            self._record("device", name, self.state.release, state=ACTIVE, soaked=True)
        return None

    def _go_back(self, name: str) -> Any:
        """A rollback by hand. What it goes back to is written down first, so that doing it twice is doing it once."""
        goal = self.state.devices[name].facts.get("to")
        if goal is None:
            seen: Seen = self._boards.look(name)
            goal = self.state.release or seen.previous
            if goal is None or (goal == seen.current and not self.state.release):
                now = seen.current or "nothing"
                raise JetlaneError(
                    f"{name}: there is nothing to go back to", f"it runs {now}, and nothing else was active before", ""
                )
            self._record("device", name, state=states.ROLLING_BACK, facts={"from": seen.current, "to": goal})
        self._boards.put_back(name, str(goal), self._teller(name))
        return goal

    def _gone_back(self, name: str, outcome: Any) -> Optional[float]:
        if isinstance(outcome, Exception):
            return self._failed(name, outcome)
        before = self.state.devices[name].facts.get("from")
        self._record(
            "device", name, outcome, state=ROLLED_BACK, judged=False, changed=True, previous=before, reason="by hand"
        )
        return None

    def _failed(self, name: str, error: Exception) -> Optional[float]:
        """Enter a failure; returns when to try again, if that may help."""
        if isinstance(error, Interrupted):
            return None
        kind, reason = _kind(error), str(error)
        if _passing(error):
            device, now = self.state.devices[name], self._clock.now()
            since = now if device.offline_since is None else device.offline_since
            again = self._backoff.next(device.attempts + 1, since, self._window(error), now)
            self._record("device", name, state=UNREACHABLE, final=again is None, reason=reason, kind=kind)
            if again is not None:
                return again
        elif kind == "unhealthy":
            device = self.state.devices[name]
            self._record("device", name, device.facts.get("to"), state=ROLLED_BACK, reason=reason, kind=kind)
        else:
            self._record("device", name, state=FAILED, reason=reason, kind=kind)
        self._judge()
        return None

    def _window(self, error: Exception) -> float:
        window = self.state.policy.offline_window
        return window if _kind(error) == "unreachable" else max(window, PATIENCE)

    def _judge(self) -> None:
        """Stop the rollout when it has more failures than its policy bears."""
        state = self.state
        if self._halted() or not state.policy.exceeded(state.failures, state.begun):
            return
        names = [device.name for device in state.devices.values() if device.failed]
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        failed = f"{some} failed before it" if len(names) == 1 else f"{some} failed"
        reason = f"{failed} ({len(names)} of {state.begun}; more than {state.policy.max_failures} stop it)"
        self._record("stopping", reason=reason, scope=state.policy.on_failure)

    # many devices

    def _each(
        self,
        names: Iterable[str],
        job: Callable[[str], Any],
        settle: Callable[[str, Any], Optional[float]],
        although_stopping: bool = False,
    ) -> None:
        """Do the job on each device, so many at once; ``settle`` may ask for it to be done again at some time."""
        ready, later, running = deque(names), [], {}  # type: ignore[var-annotated]
        while True:
            self._look()
            if self._halted() and not (although_stopping and not self.state.aborted_by):
                ready.clear()
                later.clear()
                self._interrupt.set()
            now = self._clock.now()
            while later and later[0][0] <= now:
                ready.append(heapq.heappop(later)[1])
            while ready and len(running) < self.state.policy.concurrency and not self.state.paused_by:
                name = ready.popleft()
                running[self._executor.submit(name, lambda name=name: job(name))] = name  # type: ignore[misc]
            if not (ready or later or running):
                return
            rest = later[0][0] - now if later and not running else TICK
            for future in self._clock.wait(running, max(min(rest, TICK), 0.0)):
                again = settle(running[future], _outcome(future))
                if again is not None:
                    heapq.heappush(later, (again, running[future]))
                del running[future]

    def _teller(self, name: str, on_stage: Callable[[str, str], None] = lambda name, stage: None) -> Teller:
        return Teller(self._id, name, self._interrupt, on_stage, self._watch)

    def _halted(self) -> bool:
        return bool(self.state.stopping or self.state.aborted_by)

    # the ledger

    def _record(self, kind: str, device: Optional[str] = None, runs: Optional[str] = None, /, **data: Any) -> None:
        with self._lock:
            event = self._ledger.append(self._id, kind, device, runs, **data)
            if kind in CONTROLS:
                self._own.add(event.number)
            self.state.apply(event)
            self._tell(lambda: self._observer.recorded(event, self.state))

    def _watch(self, progress: Any) -> None:
        with self._lock:
            self._tell(lambda: self._observer.progress(progress))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # a watcher's fault is not the rollout's
            _log.warning("somebody who watches rollout %s failed", self._id, exc_info=True)

    def _look(self) -> None:
        """Take in what other processes wrote about this rollout.

        Raises:
            LeaseLost: One of them took it over.
        """
        if self._lost is not None:
            raise self._lost
        for event in self._ledger.events(self._id, after=self._polled, kinds=CONTROLS):
            self._polled = event.number
            if event.number in self._own:
                continue
            with self._lock:
                self.state.apply(event)
                self._tell(lambda event=event: self._observer.recorded(event, self.state))  # type: ignore[misc]
        if self.state.ended:
            raise LeaseLost(f"rollout {self._id} was ended by another process", self.state.reason)

    @contextmanager
    def _attached(self) -> Iterator[None]:
        """Hold the devices' leases, and be the one who works on this rollout."""
        self.state = self._ledger.state(self._id)
        self._take()
        beating = threading.Event()
        heart = threading.Thread(target=self._beat, args=(beating,), daemon=True)
        self._executor = self._given or Threads(self.state.policy.concurrency)
        try:
            self.state = self._ledger.state(self._id)  # as whoever held the leases left it
            self._polled = self.state.last
            if self.state.operation == states.ROLLOUT:
                self._unconfirmed = {d.name for d in self.state.devices.values() if d.state == ACTIVE}
            heart.start()
            if not self.state.ended:
                self._record("attached", process=str(self._ledger.leases.holder))
            yield
        finally:
            self._interrupt.set()
            self._executor.close()
            beating.set()
            self._ledger.leases.release(self._id)

    def _take(self) -> None:
        try:
            self._ledger.leases.take(self._id, self.state.addresses)
        except DeviceError:
            if not self.state.orchestrator and self._ledger.leases.held(self._id) is None:
                # begun a moment after another one: it is not to be taken up later
                self._ledger.append(self._id, "ended", outcome=states.SUPERSEDED, reason="another rollout was faster")
            raise

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                self._ledger.leases.renew(self._id)
            except LeaseLost as error:
                self._lost = error
                self._interrupt.set()
                return
            except Exception:  # the database is away for a moment; the lease outlives that
                _log.warning("the lease of rollout %s was not renewed", self._id)


def _outcome(future: Future[Any]) -> Any:
    """What the job returned, or the exception that ended it."""
    error = future.exception()
    if error is not None and not isinstance(error, Exception):
        raise error
    return error if error is not None else future.result()


def _kind(error: Exception) -> str:
    if isinstance(error, JetlaneError):
        return str(getattr(error, "kind", "failed"))
    return "bug"


def _passing(error: Exception) -> bool:
    return _kind(error) in PASSING
