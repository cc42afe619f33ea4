"""The work of a rollout on one device at a time, and the events that record its result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.device.latency import MEASURED
from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.device_operations import PASSING, DeviceOperations
from jetlane.remote.fleet.execution import Backoff, Clock
from jetlane.remote.fleet.progress_reporter import Interrupted, ProgressReporter
from jetlane.remote.fleet.rules import exceeded, seconds
from jetlane.remote.fleet.session import RolloutSession
from jetlane.remote.fleet.state import ACTIVE, FAILED, ROLLED_BACK, UNREACHABLE
from jetlane.remote.fleet.views import when
from jetlane.specs.errors import JetlaneError

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport

#: Seconds for which a lost connection or a busy device is retried, even if the offline window is shorter.
PATIENCE = 30.0
#: The kind of a device that has run no other release before.
NOTHING = "nothing_before"


class NothingToRollBackTo(JetlaneError):
    """A device has run no other release before.

    Attributes:
        runs: What it runs; None for nothing.
    """

    def __init__(self, name: str, runs: Optional[str]) -> None:
        why = f"it runs {runs or 'nothing'}, and no other release was active before"
        super().__init__(f"{name}: there is nothing to roll back to", why, "roll out another release to it")
        self.runs = runs


@dataclass(frozen=True)
class RolledBackBefore:
    """A device whose previous release is the one that it was rolled back from."""

    runs: str
    bad: str
    at: float

    def __str__(self) -> str:
        again = f"`jetlane fleet rollout {self.bad}` puts {self.bad} live again"
        return f"it was rolled back to {self.runs} already, at {when(self.at)}; {again}"


class DeviceJobs:
    """Each job of a rollout (``deliver``) with the method that records its outcome (``record_delivery``).

    Jobs run in the executor's threads. Their outcomes are recorded in the engine's thread: an outcome is what the job
    returned or the exception that ended it, and the method returns when to retry, or None. See ``scheduler``.

    Attributes:
        unconfirmed: Devices that were active according to an earlier orchestrator; each is asked once.
    """

    def __init__(
        self,
        session: RolloutSession,
        operations: DeviceOperations,
        on_report: Callable[[DeviceReport], None],
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._session, self._operations, self._on_report = session, operations, on_report
        self._clock, self._backoff = clock, backoff
        self._tries: dict[tuple[str, str], tuple[int, float]] = {}
        self.unconfirmed: set[str] = set()

    def deliver(self, name: str) -> Any:
        """Make a device run the release."""
        return self._operations.deliver(name, self._reporter(name, self._record_stage))

    def _record_stage(self, name: str, stage: str) -> None:
        """Record a stage of a delivery that is in progress."""
        device = self._session.state.devices[name]
        if device.state == ACTIVE:  # recorded by an earlier orchestrator, and no longer true
            self._record_reconciled(name, "it does not run the release any more")
        self._session.record("device", name, state=stage)

    def record_delivery(self, name: str, outcome: Any) -> Optional[float]:
        """Record whether a delivery made the device active."""
        device = self._session.state.devices[name]
        if isinstance(outcome, Exception):
            if name in self.unconfirmed and device.state == ACTIVE and passing(outcome):
                return None  # it was active when last seen; not reaching it now does not contradict that
            return self._record_failure(name, outcome)
        self.unconfirmed.discard(name)
        self._on_report(outcome)
        unchanged = outcome.state == "unchanged"
        if unchanged and device.state == ACTIVE:
            return None
        ours = device.touched or not unchanged
        if unchanged and ours:
            self._record_reconciled(name, "it runs the release already")
        facts = {
            "engine": outcome.engine,
            "backend": outcome.backend,
            "bytes": outcome.bytes_sent,
            "seconds": dict(outcome.seconds),
            "latency_ms": (outcome.agreement.get("latency") or {}).get(MEASURED),
            "model": outcome.board.get("model") or outcome.board.get("cpu"),
        }
        self._session.record(
            "device",
            name,
            self._session.state.release,
            state=ACTIVE,
            changed=ours,
            previous=outcome.previous,
            note="; ".join(outcome.skipped),
            facts=facts,
        )
        return None

    def _record_reconciled(self, name: str, board: str) -> None:
        self._session.record("reconciled", name, ledger=self._session.state.devices[name].state, board=board)

    def check_health(self, name: str) -> str:
        """The second health check: ``""`` when the device is healthy, else why it was rolled back."""
        reporter = self._reporter(name)
        try:
            self._operations.check_health(name, reporter)
            return ""
        except JetlaneError as error:
            device = self._session.state.devices[name]
            if passing(error) or not (device.changed and device.previous):
                raise
            self._operations.rollback(name, device.previous, reporter)
            return str(error)

    def record_health(self, name: str, outcome: Any) -> Optional[float]:
        """Record whether the device passed its second health check or was rolled back."""
        if isinstance(outcome, Exception):
            return self._record_failure(name, outcome, rolled_back=False)
        if outcome:
            previous = self._session.state.devices[name].previous
            self._session.record("device", name, previous, state=ROLLED_BACK, reason=outcome, kind="unhealthy")
            self.stop_if_exceeded()
        else:
            self._session.record("device", name, self._session.state.release, state=ACTIVE, soaked=True)
        return None

    def rollback(self, name: str) -> Any:
        """Roll a device back as requested. Its target is recorded first, so that repeating the job changes nothing.

        A device calls whatever ran before its previous release. Unless a release is named, the one that the device was
        rolled back from does not come live again by another rollback.

        Returns:
            What it runs now, or a ``RolledBackBefore``.
        """
        target = self._session.state.devices[name].facts.get("to")
        if target is None:
            found = self._operations.status(name, self._reporter(name))
            target = self._session.state.release or found.previous
            if target is None or (target == found.current and not self._session.state.release):
                raise NothingToRollBackTo(name, found.current)
            last = None if self._session.state.release else self._session.last_change(name)
            if last is not None and last.data.get("state") == ROLLED_BACK and last.runs == found.current:
                return RolledBackBefore(str(found.current), str(target), last.at)
            facts = {"from": found.current, "to": target}
            self._session.record("device", name, state=states.ROLLING_BACK, facts=facts)
        self._operations.rollback(name, str(target), self._reporter(name))
        return target

    def record_rollback(self, name: str, outcome: Any) -> Optional[float]:
        """Record whether a requested rollback succeeded."""
        if isinstance(outcome, NothingToRollBackTo):  # no failure of the device: it runs what it ran
            state = ACTIVE if outcome.runs else states.SKIPPED
            known = {"changed": False, "reason": str(outcome), "kind": NOTHING}
            self._session.record("device", name, outcome.runs, state=state, **known)
            return None
        if isinstance(outcome, RolledBackBefore):
            known = {"changed": False, "reason": str(outcome), "kind": states.BY_HAND}
            self._session.record("device", name, outcome.runs, state=ROLLED_BACK, judged=False, **known)
            return None
        if isinstance(outcome, Exception):
            return self._record_failure(name, outcome)
        before = self._session.state.devices[name].facts.get("from")
        known = {"changed": True, "previous": before, "reason": "by hand", "kind": states.BY_HAND}
        self._session.record("device", name, outcome, state=ROLLED_BACK, judged=False, **known)
        return None

    def rollback_after_stop(self, name: str) -> None:
        """Roll a device back to what it ran before this rollout, because the rollout was stopped."""
        self._operations.rollback(name, str(self._session.state.devices[name].previous), self._reporter(name))

    def record_rollback_after_stop(self, name: str, outcome: Any) -> Optional[float]:
        """Record whether that rollback succeeded; a device that cannot be rolled back stays active."""
        device, why = self._session.state.devices[name], self._session.state.stopping
        if not isinstance(outcome, Exception) or kind_of(outcome) == "unhealthy":
            text = str(outcome) if isinstance(outcome, Exception) else f"rolled back: {why}"
            self._session.record("device", name, device.previous, state=ROLLED_BACK, reason=text, judged=False)
            return None
        again = self._retry_at("rollback after stop", name, outcome) if passing(outcome) else None
        if again is None and not isinstance(outcome, Interrupted):
            text = f"could not be rolled back: {outcome}"
            self._session.record("device", name, state=ACTIVE, reason=text, kind=kind_of(outcome))
        return again

    def _record_failure(self, name: str, error: Exception, rolled_back: bool = True) -> Optional[float]:
        """Record a failure; returns when to retry, if that may help.

        Args:
            rolled_back: An unhealthy device has rolled back by itself.
        """
        if isinstance(error, Interrupted):
            if error.switching:
                reason = f"{error} by hand; `jetlane device status {name}` shows what it runs now"
                self._session.record("device", name, state=UNREACHABLE, final=True, reason=reason, kind="cut")
            return None
        kind, reason = kind_of(error), str(error)
        if passing(error):
            again = self._retry_at("", name, error)
            self._session.record("device", name, state=UNREACHABLE, final=again is None, reason=reason, kind=kind)
            if again is not None:
                return again
        elif kind == "unhealthy" and rolled_back:
            device = self._session.state.devices[name]
            self._session.record("device", name, device.facts.get("to"), state=ROLLED_BACK, reason=reason, kind=kind)
        else:
            self._session.record("device", name, state=FAILED, reason=reason, kind=kind)
        self.stop_if_exceeded()
        return None

    def _retry_at(self, job: str, name: str, error: Exception) -> Optional[float]:
        """When to retry, by this process's clock: a process that resumes a rollout restarts every window."""
        now = self._clock.now()
        count, since = self._tries.get((job, name), (0, now))
        self._tries[job, name] = (count + 1, since)
        return self._backoff.next(count + 1, since, self._window(error), now)

    def _window(self, error: Exception) -> float:
        window = seconds(self._session.state.rules.offline_window)
        return window if kind_of(error) == "unreachable" else max(window, PATIENCE)

    def stop_if_exceeded(self) -> None:
        """Stop the rollout when it has more failures than its rules allow."""
        state = self._session.state
        if self._session.halted or not exceeded(state.rules, state.failures, state.begun):
            return
        names = [device.name for device in state.devices.values() if device.failed]
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        failed = f"{listed} failed before it" if len(names) == 1 else f"{listed} failed"
        reason = f"{failed} ({len(names)} of {state.begun}; more than {state.rules.max_failures} stop it)"
        self._session.record("stopping", reason=reason, scope=state.rules.on_failure)

    def _reporter(self, name: str, on_stage: Callable[[str, str], None] = lambda name, stage: None) -> ProgressReporter:
        return ProgressReporter(self._session.id, name, self._session.interrupt, on_stage, self._session.report)


def kind_of(error: Exception) -> str:
    """The kind of a failure, to act on; ``bug`` for an exception that is not a ``JetlaneError``."""
    if isinstance(error, JetlaneError):
        return str(getattr(error, "kind", "failed"))
    return "bug"


def passing(error: Exception) -> bool:
    """Whether a retry may succeed."""
    return kind_of(error) in PASSING
