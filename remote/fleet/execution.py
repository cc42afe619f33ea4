"""Executors and clocks: where and when the work of a rollout runs. Tests replace them."""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, Optional, Protocol


class Executor(Protocol):
    """Runs the work on several devices in parallel."""

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        """Start the work on device ``name``."""

    def close(self) -> None:
        """Cancel what has not started, and return when the rest has ended."""


class Threads:
    """An executor with one thread per device that is worked on."""

    def __init__(self, count: int) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(count, "jetlane-device")

    def submit(self, name: str, work: Callable[[], Any]) -> Future[Any]:
        return self._pool.submit(work)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Clock:
    """The monotonic clock, which cannot be set; all waits within a process use it."""

    def now(self) -> float:
        """Seconds since a fixed moment, which is the same for all processes of a machine until it restarts."""
        return time.monotonic()

    def wait(self, running: Iterable[Future[Any]], seconds: float) -> set[Future[Any]]:
        """Return the futures that have ended, after at most so many seconds."""
        futures = list(running)
        if not futures:
            time.sleep(seconds)
            return set()
        done, _ = concurrent.futures.wait(futures, seconds, concurrent.futures.FIRST_COMPLETED)
        return done


class Backoff:
    """Delays between retries: they double from one second to a minute; the last retry is at the end of the window."""

    def __init__(self, first: float = 1.0, longest: float = 60.0) -> None:
        self._first, self._longest = first, longest

    def next(self, attempts: int, since: float, window: float, now: float) -> Optional[float]:
        """When to retry; None when the window has closed.

        Args:
            attempts: Number of failed attempts, at least 1.
            since: When the first attempt failed, by the same clock as ``now``.
        """
        end = since + window
        if now >= end:
            return None
        return min(now + min(self._first * 2.0 ** min(attempts - 1, 20), self._longest), end)
