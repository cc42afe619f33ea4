"""Writes to a program's standard input, with a bound on the bytes in flight."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from jetlane.remote.ssh.watchdog import Watchdog

if TYPE_CHECKING:
    import paramiko

#: Bytes in flight: enough for any path of a few milliseconds, or what 75 MB/s need on a longer one.
_IN_FLIGHT, _FAST = 512 << 10, 75e6
#: Seconds after which more is sent anyway.
_PATIENCE = 5.0


class Sender:
    """Writes to a program's standard input and keeps no more bytes in flight than the path needs.

    OpenSSH's window is 2 MiB. On a short path, a full window gains nothing and is lost when the connection is cut; a
    long path needs it. With other servers the whole window is used, because some announce free space only when half
    of it is empty; OpenSSH does so every three packets.
    """

    def __init__(self, channel: paramiko.Channel, round_trip: float, watchdog: Watchdog) -> None:
        self._channel, self._watchdog = channel, watchdog
        self._window = channel.out_window_size
        short = "OpenSSH" in channel.get_transport().remote_version and round_trip < 1.0
        self._in_flight = max(_IN_FLIGHT, int(round_trip * _FAST)) if short else self._window

    def __call__(self, data: bytes) -> None:
        """Send all of it; EOFError when the other side has ended."""
        channel, rest = self._channel, data
        with channel.out_buffer_cv:
            channel.out_buffer_cv.wait_for(self._has_room, _PATIENCE)
        while rest:
            try:
                sent = channel.send(rest)
            except socket.timeout:
                self._watchdog.check()
                continue
            except Exception as error:  # paramiko passes on whatever ended the connection
                raise EOFError from error
            if not sent:
                raise EOFError
            rest = rest[sent:]
            self._watchdog.heard()  # it accepted bytes

    def end(self) -> None:
        """Close standard input; EOFError when the other side has ended."""
        try:
            self._channel.shutdown_write()
        except Exception as error:
            raise EOFError from error

    def _has_room(self) -> bool:
        channel = self._channel
        return bool(channel.closed or self._window - channel.out_window_size <= self._in_flight)
