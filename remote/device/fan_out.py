"""Runs the same work on many devices in parallel, from one process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any, Optional, TypeVar, Union

from jetlane.remote.inventory import Device
from jetlane.remote.ssh.watchdog import GivenUp
from jetlane.specs.errors import DeviceError, JetlaneError
from jetlane.specs.support.text import harmless

#: Devices in parallel; the work is mostly waiting.
AT_ONCE = 32

Result = TypeVar("Result")


def on_each(
    devices: Sequence[Device], work: Callable[[Device, GivenUp], Result], at_once: int = AT_ONCE
) -> Iterator[tuple[Device, Union[Result, JetlaneError]]]:
    """Run work on every device, and yield the result or the error of each as it ends.

    A failure of one device does not affect the others. Closing the iterator, also by Ctrl-C, ends the work on all.

    Args:
        work: Called with the device and a function for the connection that tells whether the work was given up.
    """
    import paramiko  # noqa: F401  (once, before many threads import it at the same time)

    stopped = threading.Event()

    def given_up() -> Optional[Exception]:
        return DeviceError("given up", "", "") if stopped.is_set() else None

    with ThreadPoolExecutor(max(1, min(at_once, len(devices)))) as pool:
        running = {pool.submit(work, device, given_up): device for device in devices}
        try:
            for future in as_completed(running):
                yield running[future], _outcome(running[future], future)
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(device: Device, future: Future[Any]) -> Any:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, JetlaneError):
        return error
    logging.getLogger("jetlane.remote").debug("the work on %s failed", device.name, exc_info=error)
    what = f"{device.name}: {type(error).__name__}: {harmless(error)}"
    return DeviceError(
        what, "this error was not expected", "report this as a bug; --debug shows where it happened", "bug"
    )
