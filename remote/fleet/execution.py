"""Where and when the work of a rollout happens: threads, and a clock that tests can turn."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Optional, Protocol


class Executor(Protocol):
    """Runs the work on one device beside that on others."""

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """Start the work on device ``name``."""

    def close(self) -> None:
        """Drop what has not begun, and return when the rest has ended."""


class Threads:
    """A thread per device that is worked on."""

    def __init__(self, count: int) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(count, "jetlane-device")

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        return self._pool.submit(work)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Clock:
    """The real one. Nobody turns it, so every wait within a process goes by it; of day and hour it knows nothing."""

    def now(self) -> float:
        """Seconds since some moment: on one machine the same for all its processes, until it is switched off."""
        return time.monotonic()

    def wait(self, running: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """Return what has ended, at the latest after so many seconds."""
        futures = list(running)
        if not futures:
            time.sleep(seconds)
            return set()
        done, _ = concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        return done


class Backoff:
    """Pauses between attempts: they double from one second to a minute, and the last attempt is at the window's end."""

    def __init__(self, first: float = 1.0, longest: float = 60.0) -> None:
        self._first, self._longest = first, longest

    def next(self, attempts: int, since: float, window: float, now: float) -> Optional[float]:
        """When to try again; None when the window has closed.

        Args:
            attempts: That failed so far, at least 1.
            since: When the first of them did, by the clock that ``now`` is of.
        """
        end = since + window
        if now >= end:
            return None
        return min(now + min(self._first * 2.0 ** min(attempts - 1, 20), self._longest), end)
