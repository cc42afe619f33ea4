"""Bytes into a program's standard input, no more under way than the path is worth."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from jetlane.remote.ssh.watchdog import Watchdog

if TYPE_CHECKING:
    import paramiko

#: Bytes that may be sent and not yet taken in: enough for any path of some milliseconds, and what 75 MB/s need on a
#: longer one.
_UNDER_WAY, _FAST = 512 << 10, 75e6
#: Seconds after which more is sent all the same.
_PATIENCE = 5.0


class Sender:
    """Writes to a program's standard input, without letting more get under way than the path is worth.

    OpenSSH's window is 2 MiB. On a short path it fills with bytes that gain nothing, and that are lost when the
    connection is cut; on a long one they are what keeps it busy. Of other servers the whole window is used, as some say
    only when half of it has been emptied that there is room again; OpenSSH says so every three packets.
    """

    def __init__(self, channel: paramiko.Channel, round_trip: float, watchdog: Watchdog) -> None:
        self._channel, self._watchdog = channel, watchdog
        self._window = channel.out_window_size
        short = "OpenSSH" in channel.get_transport().remote_version and round_trip < 1.0
        self._under_way = max(_UNDER_WAY, int(round_trip * _FAST)) if short else self._window

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
            self._watchdog.heard()  # it took some

    def end(self) -> None:
        """Say that there is no more; EOFError when the other side has ended."""
        try:
            self._channel.shutdown_write()
        except Exception as error:
            raise EOFError from error

    def _has_room(self) -> bool:
        channel = self._channel
        return bool(channel.closed or self._window - channel.out_window_size <= self._under_way)
