"""The same work on many devices at once, from one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar, Union

from jetlane.remote.inventory import Device
from jetlane.specs.errors import JetlaneError

#: Devices at once; the work is mostly waiting.
AT_ONCE = 32

Result = TypeVar("Result")


def on_each(
    devices: Sequence[Device], work: Callable[[Device], Result], at_once: int = AT_ONCE
) -> Iterator[tuple[Device, Union[Result, JetlaneError]]]:
    """Do something on every device, and yield what came of it as each ends: a result, or why it failed.

    One device's failure touches no other. An error that is no ``JetlaneError`` is a bug, and raised.
    """
    import paramiko  # noqa: F401  (once, before many threads want it at the same time)

    with ThreadPoolExecutor(max(1, min(at_once, len(devices)))) as pool:
        running = {pool.submit(work, device): device for device in devices}
        for future in as_completed(running):
            error = future.exception()
            if error is not None and not isinstance(error, JetlaneError):
                for other in running:
                    other.cancel()
                raise error
            yield running[future], error if isinstance(error, JetlaneError) else future.result()
