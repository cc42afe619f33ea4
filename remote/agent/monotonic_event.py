"""Waiting that no clock's jump makes longer or shorter.

Before Python 3.11 the limits of threading's own waits are times of the wall clock: where that is set back by an hour,
five seconds take an hour. A board without a battery starts in 1970, and jumps when it hears from a time server.
"""

import os
import select


class MonotonicEvent(object):
    """Can be waited for, for some seconds at most, until it is set."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self, seconds: float) -> bool:
        """Whether it is set."""
        return bool(select.select([self._read], [], [], seconds)[0])

    def set(self) -> None:
        os.write(self._write, b".")

    def close(self) -> None:
        """Free its descriptors; it must not be waited for afterwards."""
        os.close(self._read)
        os.close(self._write)
