"""The same function over many inputs in processes of their own, in order, with few of them under way at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Callable, TypeVar

from jetlane.specs.errors import DatasetError

Given = TypeVar("Given")
Made = TypeVar("Made")

#: Inputs under way for each process.
_AHEAD = 4


def workers() -> int:
    """Processes that compute at once: the processors that this one may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def in_parallel(function: Callable[[Given], Made], inputs: Iterable[Given], processes: int) -> Iterator[Made]:
    """``function`` of each input, in order.

    Args:
        function: Of a module, so that another process can find it.
        processes: With one, everything happens in this process.

    Raises:
        DatasetError: A process was killed; whatever else ``function`` raises comes through.
    """
    if processes <= 1:
        yield from map(function, inputs)
        return
    import multiprocessing

    # a fork of a process with threads, such as Prefect's, may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        under_way: deque[Future[Made]] = deque()
        try:
            for item in inputs:
                under_way.append(pool.submit(function, item))
                if len(under_way) > processes * _AHEAD:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as error:
            raise DatasetError(
                "a process that read images was killed",
                "most likely the machine is out of memory",
                "close other programs",
            ) from error
        finally:
            for future in under_way:
                future.cancel()
