"""A paramiko transport with bounds on the memory and time that a peer can cost this process.

SSH lets a peer announce packets of 4 GiB, send an endless greeting, exceed its window, and send meaningless packets at
any rate; paramiko stores or processes all of it. A peer that follows the protocol (RFC 4253, RFC 4254) never reaches
these bounds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, ClassVar

import paramiko
from paramiko.common import (
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_REQUEST,
    MSG_DEBUG,
    MSG_GLOBAL_REQUEST,
    MSG_IGNORE,
    MSG_UNIMPLEMENTED,
)
from paramiko.packet import Packetizer

#: Bytes of one packet: OpenSSH's own bound. paramiko requests packets of 32 KiB.
LONGEST_PACKET = 256 << 10
#: Bytes before the first packet: lines that a server may send before its version (RFC 4253, 4.2), and that one.
LONGEST_GREETING = 32 << 10
#: Packets that do not advance the work, such as keepalives; how many may come at once, and per second.
_IDLE = (MSG_IGNORE, MSG_UNIMPLEMENTED, MSG_DEBUG, MSG_GLOBAL_REQUEST, MSG_CHANNEL_OPEN, MSG_CHANNEL_REQUEST)
MOST_IDLE, ASIDE_RATE = 2_000, 10.0


class BoundedPackets(Packetizer):
    """Refuses packets by the length that they announce, and too many meaningless ones."""

    def __init__(self, link: Any) -> None:
        super().__init__(link)
        self._greeted, self._aside, self._began = 0, 0, time.monotonic()

    def read_message(self) -> tuple[int, Any]:
        """As in paramiko; SSHException where too many meaningless packets come."""
        kind, message = super().read_message()
        if kind in _IDLE:
            self._aside += 1
            if self._aside > MOST_IDLE + ASIDE_RATE * (time.monotonic() - self._began):
                raise paramiko.SSHException("it sends endless meaningless packets")
        return kind, message

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """As in paramiko; SSHException for a packet that is longer than any server sends."""
        if n > LONGEST_PACKET:
            raise paramiko.SSHException(f"it announces a packet of {n} bytes")
        return super().read_all(n, check_rekey)

    def _read_timeout(self, timeout: float) -> bytes:
        piece: bytes = super()._read_timeout(timeout)  # type: ignore[misc]
        self._greeted += len(piece)
        if self._greeted > LONGEST_GREETING:
            raise paramiko.SSHException("its greeting does not end")
        return piece


def _within_window(feed: Callable[[paramiko.Channel, Any], None]) -> Callable[[paramiko.Channel, Any], None]:
    def bounded(channel: Any, message: Any) -> None:
        feed(channel, message)
        held = len(channel.in_buffer) + len(channel.in_stderr_buffer)
        if held > 2 * channel.in_window_size:
            raise paramiko.SSHException(f"it sends more than its window of {channel.in_window_size} bytes")

    return bounded


class BoundedTransport(paramiko.Transport):
    """A transport with such packets, whose channels buffer no more than their windows."""

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]
        MSG_CHANNEL_DATA: _within_window(paramiko.Channel._feed),  # type: ignore[attr-defined]
        MSG_CHANNEL_EXTENDED_DATA: _within_window(paramiko.Channel._feed_extended),  # type: ignore[attr-defined]
    }

    def __init__(self, link: Any, **options: Any) -> None:
        # paramiko also logs every failure; without a handler Python prints that to the terminal
        log = logging.getLogger("paramiko")
        if not log.handlers:
            log.addHandler(logging.NullHandler())
            log.propagate = False
        super().__init__(link, **options, packetizer_class=BoundedPackets)
