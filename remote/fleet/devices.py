"""One device of a rollout at a time: the work on it, and what is written down of how it went."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.fleet import state as states
from jetlane.remote.fleet.boards import PASSING, Boards, Seen
from jetlane.remote.fleet.state import ACTIVE, FAILED, ROLLED_BACK, UNREACHABLE
from jetlane.remote.fleet.telling import Interrupted, Teller
from jetlane.remote.fleet.tenure import Tenure
from jetlane.remote.fleet.work import Backoff, Clock
from jetlane.specs.errors import JetlaneError

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport

#: A cut line or a busy board is given so many seconds, whatever the window for boards that are off.
PATIENCE = 30.0


class Devices:
    """The jobs of a rollout, and for each the one that settles it; see ``crew``.

    Attributes:
        unconfirmed: Devices that were active when a dead orchestrator last knew; each is asked once.
    """

    def __init__(
        self,
        tenure: Tenure,
        boards: Boards,
        on_report: Callable[[DeviceReport], None],
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        self._tenure, self._boards, self._on_report = tenure, boards, on_report
        self._clock, self._backoff = clock, backoff
        self._tries: dict[tuple[str, str], tuple[int, float]] = {}
        self.unconfirmed: set[str] = set()

    def deliver(self, name: str) -> Any:
        """Make a device run the release."""
        return self._boards.deliver(name, self._teller(name, self._stage_begins))

    def _stage_begins(self, name: str, stage: str) -> None:
        """What the ledger knows of a delivery that is under way."""
        device = self._tenure.state.devices[name]
        if device.state == ACTIVE:  # taken up from a dead orchestrator, and the board knows better
            self._reconciled(name, "it does not run the release any more")
        self._tenure.record("device", name, state=stage)

    def delivered(self, name: str, outcome: Any) -> Optional[float]:
        """Enter what became of that."""
        device = self._tenure.state.devices[name]
        if isinstance(outcome, Exception):
            if name in self.unconfirmed and device.state == ACTIVE and passing(outcome):
                return None  # it was active when last seen, and cannot be asked now: nothing is known against it
            return self._failed(name, outcome)
        self.unconfirmed.discard(name)
        self._on_report(outcome)
        unchanged = outcome.state == "unchanged"
        if unchanged and device.state == ACTIVE:
            return None
        ours = device.touched or not unchanged
        if unchanged and ours:
            self._reconciled(name, "it runs the release already")
        facts = {
            "engine": outcome.engine,
            "backend": outcome.backend,
            "bytes": outcome.bytes_sent,
            "seconds": dict(outcome.seconds),
        }
        self._tenure.record(
            "device",
            name,
            self._tenure.state.release,
            state=ACTIVE,
            changed=ours,
            previous=outcome.previous,
            reason="; ".join(outcome.skipped),
            facts=facts,
        )
        return None

    def _reconciled(self, name: str, board: str) -> None:
        self._tenure.record("reconciled", name, ledger=self._tenure.state.devices[name].state, board=board)

    def check(self, name: str) -> str:
        """The second health check: ``""`` when all is well, else why the board was put back."""
        tell = self._teller(name)
        try:
            self._boards.check(name, tell)
            return ""
        except JetlaneError as error:
            device = self._tenure.state.devices[name]
            if passing(error) or not (device.changed and device.previous):
                raise
            self._boards.put_back(name, device.previous, tell)
            return str(error)

    def checked(self, name: str, outcome: Any) -> Optional[float]:
        """Enter what became of that."""
        if isinstance(outcome, Exception):
            return self._failed(name, outcome, went_back=False)
        if outcome:
            previous = self._tenure.state.devices[name].previous
            self._tenure.record("device", name, previous, state=ROLLED_BACK, reason=outcome, kind="unhealthy")
            self.judge()
        else:
            self._tenure.record("device", name, self._tenure.state.release, state=ACTIVE, soaked=True)
        return None

    def go_back(self, name: str) -> Any:
        """A rollback by hand. What it goes back to is written down first, so that doing it twice is doing it once."""
        goal = self._tenure.state.devices[name].facts.get("to")
        if goal is None:
            seen: Seen = self._boards.look(name, self._teller(name))
            goal = self._tenure.state.release or seen.previous
            if goal is None or (goal == seen.current and not self._tenure.state.release):
                now = seen.current or "nothing"
                raise JetlaneError(
                    f"{name}: there is nothing to go back to", f"it runs {now}, and nothing else was active before", ""
                )
            self._tenure.record("device", name, state=states.ROLLING_BACK, facts={"from": seen.current, "to": goal})
        self._boards.put_back(name, str(goal), self._teller(name))
        return goal

    def gone_back(self, name: str, outcome: Any) -> Optional[float]:
        """Enter what became of that."""
        if isinstance(outcome, Exception):
            return self._failed(name, outcome)
        before = self._tenure.state.devices[name].facts.get("from")
        self._tenure.record(
            "device", name, outcome, state=ROLLED_BACK, judged=False, changed=True, previous=before, reason="by hand"
        )
        return None

    def undo(self, name: str) -> None:
        """Put a device back to what it ran before this rollout."""
        self._boards.put_back(name, str(self._tenure.state.devices[name].previous), self._teller(name))

    def undone(self, name: str, outcome: Any) -> Optional[float]:
        """Enter what became of that; a device that cannot be put back stays as it is."""
        device, why = self._tenure.state.devices[name], self._tenure.state.stopping
        if not isinstance(outcome, Exception) or kind_of(outcome) == "unhealthy":
            text = str(outcome) if isinstance(outcome, Exception) else f"put back: {why}"
            self._tenure.record("device", name, device.previous, state=ROLLED_BACK, reason=text, judged=False)
            return None
        again = self._again("undo", name, outcome) if passing(outcome) else None
        if again is None and not isinstance(outcome, Interrupted):
            text = f"could not be put back: {outcome}"
            self._tenure.record("device", name, state=ACTIVE, reason=text, kind=kind_of(outcome))
        return again

    def _failed(self, name: str, error: Exception, went_back: bool = True) -> Optional[float]:
        """Enter a failure; returns when to try again, if that may help.

        Args:
            went_back: A board that was not well put itself back.
        """
        if isinstance(error, Interrupted):
            if error.switching:
                reason = f"{error} by hand; `jetlane device status {name}` tells what it runs now"
                self._tenure.record("device", name, state=UNREACHABLE, final=True, reason=reason, kind="cut")
            return None
        kind, reason = kind_of(error), str(error)
        if passing(error):
            again = self._again("", name, error)
            self._tenure.record("device", name, state=UNREACHABLE, final=again is None, reason=reason, kind=kind)
            if again is not None:
                return again
        elif kind == "unhealthy" and went_back:
            device = self._tenure.state.devices[name]
            self._tenure.record("device", name, device.facts.get("to"), state=ROLLED_BACK, reason=reason, kind=kind)
        else:
            self._tenure.record("device", name, state=FAILED, reason=reason, kind=kind)
        self.judge()
        return None

    def _again(self, what: str, name: str, error: Exception) -> Optional[float]:
        """When to try again, by this process's clock: whoever takes a rollout up gives everybody the whole window."""
        now = self._clock.now()
        count, since = self._tries.get((what, name), (0, now))
        self._tries[what, name] = (count + 1, since)
        return self._backoff.next(count + 1, since, self._window(error), now)

    def _window(self, error: Exception) -> float:
        window = self._tenure.state.policy.offline_window
        return window if kind_of(error) == "unreachable" else max(window, PATIENCE)

    def judge(self) -> None:
        """Stop the rollout when it has more failures than its policy bears."""
        state = self._tenure.state
        if self._tenure.halted or not state.policy.exceeded(state.failures, state.begun):
            return
        names = [device.name for device in state.devices.values() if device.failed]
        some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        failed = f"{some} failed before it" if len(names) == 1 else f"{some} failed"
        reason = f"{failed} ({len(names)} of {state.begun}; more than {state.policy.max_failures} stop it)"
        self._tenure.record("stopping", reason=reason, scope=state.policy.on_failure)

    def _teller(self, name: str, on_stage: Callable[[str, str], None] = lambda name, stage: None) -> Teller:
        return Teller(self._tenure.id, name, self._tenure.interrupt, on_stage, self._tenure.watch)


def kind_of(error: Exception) -> str:
    """The word to act on; ``bug`` for what nobody meant to raise."""
    if isinstance(error, JetlaneError):
        return str(getattr(error, "kind", "failed"))
    return "bug"


def passing(error: Exception) -> bool:
    """Whether another attempt may mend it."""
    return kind_of(error) in PASSING
