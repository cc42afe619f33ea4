"""Runs jobs on many devices at once: at most ``concurrency`` of them, with retries, and none while paused."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Optional

from jetlane.remote.fleet.execution import Clock, Executor
from jetlane.remote.fleet.ledger_errors import LedgerError
from jetlane.remote.fleet.session import RolloutSession

#: Seconds between polls of the ledger for requests of other processes.
TICK = 0.5

#: Does the work on one device.
Job = Callable[[str], Any]
#: Gets what a job returned, or the exception that ended it; returns when to run it again, or None.
RecordOutcome = Callable[[str, Any], Optional[float]]


class Scheduler:
    """Runs the jobs of a rollout in its executor."""

    def __init__(self, session: RolloutSession, executor: Executor, clock: Clock) -> None:
        self._session, self._executor, self._clock = session, executor, clock

    def run_each(
        self, names: Iterable[str], job: Job, record_outcome: RecordOutcome, although_stopping: bool = False
    ) -> None:
        """Run the job on each device. ``record_outcome`` is called in this thread, for one device after the other.

        Args:
            although_stopping: Run also while the rollout stops; an abort ends this too.
        """
        session = self._session
        ready = deque(names)
        later: list[tuple[float, str]] = []
        running: dict[Future[Any], str] = {}
        while True:
            session.poll()
            if session.halted and not (although_stopping and not session.state.aborted_by):
                ready.clear()
                later.clear()
                session.interrupt.set()
            now = self._clock.now()
            while later and later[0][0] <= now:
                ready.append(heapq.heappop(later)[1])
            while ready and len(running) < session.state.rules.concurrency and not session.state.paused_by:
                name = ready.popleft()
                running[self._executor.submit(name, lambda name=name: job(name))] = name  # type: ignore[misc]
            if not (ready or later or running):
                return
            rest = later[0][0] - now if later and not running else TICK
            for future in self._clock.wait(running, max(min(rest, TICK), 0.0)):
                again = record_outcome(running[future], _outcome(future))
                if again is not None:
                    heapq.heappush(later, (again, running[future]))
                del running[future]

    def wait(self, seconds: float, until: Callable[[], bool]) -> None:
        """Wait at most so many seconds, or until ``until`` is true, polling for requests of other processes."""
        end = self._clock.now() + seconds
        while (left := end - self._clock.now()) > 0 and not until():
            self._clock.wait((), min(TICK, left))
            self._session.poll()


def _outcome(future: Future[Any]) -> Any:
    error = future.exception()
    if isinstance(error, LedgerError) or (error is not None and not isinstance(error, Exception)):
        raise error  # not caused by the device
    return error if error is not None else future.result()
