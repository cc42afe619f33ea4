"""Ends every wait on a device: at a stage's deadline, when the device falls silent, or when the work is given up.

A wait may be anywhere in paramiko: in the handshake, in a request that is never answered, in a read, in a write to a
peer that does not read. Not all of them have a timeout, and none can be cancelled. All of them end when the socket is
shut down, so that is what the watchdog does.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Optional

from jetlane.specs.errors import DeviceError
from jetlane.specs.support.background import BackgroundThread

#: Returns why the work on a device is given up; None while it is not.
GivenUp = Callable[[], Optional[Exception]]
#: Seconds between two checks whether the work was given up.
_TICK = 0.25


class Watchdog(BackgroundThread):
    """Watches over one connection, in a thread of its own for the time of a ``with`` block.

    Args:
        device: Its name, for messages.
        given_up: Polled all the time.

    Attributes:
        reason: Why the connection was shut down; None while it was not.
    """

    def __init__(self, device: str, given_up: Optional[GivenUp] = None) -> None:
        self.reason: Optional[Exception] = None
        self._device, self._given_up = device, given_up or (lambda: None)
        self._lock = threading.Lock()
        self._link: Optional[Any] = None
        self._stage, self._end, self._silence, self._heard = "", float("inf"), float("inf"), 0.0
        super().__init__(f"jetlane-watchdog-{device}")

    def guard(self, link: socket.socket) -> None:
        """Watch the socket of this connection."""
        with self._lock:
            self._link = link
            shut = self.reason is not None
        if shut:
            _shut(link)

    @contextmanager
    def stage(self, name: str, seconds: float, silence: float = float("inf")) -> Iterator[None]:
        """A part of the work that must end within ``seconds``, with no silence longer than ``silence``.

        Raises:
            Exception: ``reason``, in place of whatever the shut connection made fail.
        """
        before = self._stage, self._end, self._silence
        now = time.monotonic()
        with self._lock:
            self._stage, self._end, self._silence, self._heard = name, now + seconds, silence, now
        try:
            yield
        except Exception as error:
            self.explain(error)
            raise
        finally:
            with self._lock:
                self._stage, self._end, self._silence = before

    def heard(self) -> None:
        """Record that the device sent or accepted something."""
        self._heard = time.monotonic()

    def extend(self, seconds: float) -> None:
        """Extend the stage by time that was spent waiting on this side."""
        with self._lock:
            self._end += seconds
            self._heard += seconds

    def earn(self, seconds: float) -> None:
        """Extend the stage by time that the device has earned by progress."""
        with self._lock:
            self._end += seconds

    def pause(self, seconds: float) -> None:
        """Sleep, unless the work is given up; the time does not count against the stage.

        Raises:
            Exception: It was given up.
        """
        end = time.monotonic() + seconds
        self.extend(seconds)
        while (left := end - time.monotonic()) > 0:
            if (reason := self.reason or self._given_up()) is not None:
                raise reason
            time.sleep(min(left, _TICK))

    def check(self) -> None:
        """Call while waiting for the device; returns while the wait may continue.

        Raises:
            Exception: Why the connection was shut down or the work given up.
            DeviceError: The device has been silent for too long; kind ``cut``.
        """
        reason = self.reason or self._given_up() or self._silent()
        if reason is not None:
            raise reason

    def explain(self, error: Exception) -> None:
        """Raise the reason for an error that shutting the connection down has caused; else return."""
        if self.reason is not None and error is not self.reason:
            raise self.reason from error

    def run_until_ended(self) -> None:
        while not self.ended.wait(min(_TICK, max(0.01, self._end - time.monotonic()))):
            reason = self.reason or self._given_up() or self._late()
            if reason is not None:
                with self._lock:
                    self.reason, link = reason, self._link
                if link is not None:
                    _shut(link)  # repeatedly: a socket that is not connecting yet is not affected

    def _late(self) -> Optional[Exception]:
        with self._lock:
            if time.monotonic() <= self._end:
                return None
            return DeviceError(
                f"{self._device}: it took too long at `{self._stage}`",
                "it is alive, but does not finish; the connection was closed",
                "find out what the board is doing (`jetlane device status`, its load, its disk); what was done is kept",
                "deadline",
            )

    def _silent(self) -> Optional[Exception]:
        if time.monotonic() <= self._heard + self._silence:
            return None
        return DeviceError(
            f"{self._device}: the connection was lost",
            f"it sent nothing for {self._silence:.0f} s, at `{self._stage}`",
            "run again: what arrived is kept, and a build that was running goes on",
            "cut",
        )


def _shut(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RDWR)
