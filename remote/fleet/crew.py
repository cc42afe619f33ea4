"""Many devices at once: so many and no more, some of them again later, none while paused."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Optional

from jetlane.remote.fleet.faults import LedgerError
from jetlane.remote.fleet.tenure import Tenure
from jetlane.remote.fleet.work import Clock, Executor

#: Seconds between looks at what other processes ask for.
TICK = 0.5

#: Does the work on one device.
Job = Callable[[str], Any]
#: Gets what a job returned, or the exception that ended it; returns when to do it again, or None.
Settle = Callable[[str, Any], Optional[float]]


class Crew:
    """Works through the devices of a rollout."""

    def __init__(self, tenure: Tenure, executor: Executor, clock: Clock) -> None:
        self._tenure, self._executor, self._clock = tenure, executor, clock

    def each(self, names: Iterable[str], job: Job, settle: Settle, although_stopping: bool = False) -> None:
        """Do the job on each device. ``settle`` is called in this thread, one device after the other.

        Args:
            although_stopping: Also while the rollout stops; an abort ends this too.
        """
        tenure = self._tenure
        ready = deque(names)
        later: list[tuple[float, str]] = []
        running: dict[Future[Any], str] = {}
        while True:
            tenure.look()
            if tenure.halted and not (although_stopping and not tenure.state.aborted_by):
                ready.clear()
                later.clear()
                tenure.interrupt.set()
            now = self._clock.now()
            while later and later[0][0] <= now:
                ready.append(heapq.heappop(later)[1])
            while ready and len(running) < tenure.state.policy.concurrency and not tenure.state.paused_by:
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

    def pause(self, seconds: float, until: Callable[[], bool]) -> None:
        """Wait so many seconds at most, or until something is so; what others ask for is heard meanwhile."""
        end = self._clock.now() + seconds
        while (left := end - self._clock.now()) > 0 and not until():
            self._clock.wait((), min(TICK, left))
            self._tenure.look()


def _outcome(future: Future[Any]) -> Any:
    error = future.exception()
    if isinstance(error, LedgerError) or (error is not None and not isinstance(error, Exception)):
        raise error  # no fault of the device's
    return error if error is not None else future.result()
