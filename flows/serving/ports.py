"""Loopback ports that no other user can take: neither while a server starts, nor in its place when it died.

A process that answers in place of our server would receive what is meant for it, and could hand its worker commands.
So every client of the server also holds a *reservation*: a socket that is bound beside the server's and never listens.
The kernel shares a port among sockets with SO_REUSEPORT only when they are one user's.
"""

from __future__ import annotations

import errno
import socket
import time

from jetlane.specs.errors import JetlaneError

HOST = "127.0.0.1"
#: How long the kernel keeps a port from others after the last connection of its former owner.
_TIME_WAIT_SECONDS = 90.0


def reserve(port: int = 0) -> socket.socket:
    """Keep a port for this user until the socket is closed; with 0, a free port.

    Raises:
        JetlaneError: Another user's process has the port.
    """
    deadline = time.monotonic() + _TIME_WAIT_SECONDS
    while True:
        try:
            return _bound(port)
        except OSError as error:
            lingers = error.errno == errno.EADDRINUSE and not answers(port) and time.monotonic() < deadline
            if not lingers:
                raise JetlaneError(
                    f"port {port} cannot be taken", error.strerror or str(error), "take another port (`--port`)"
                ) from error
        time.sleep(0.5)


def listening(port: int) -> socket.socket:
    """A socket that listens on a port which this user holds.

    Raises:
        OSError: Another user's process has the port.
    """
    made = _bound(port)
    made.listen(2048)
    return made


def answers(port: int) -> bool:
    """Whether a process listens on a loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0


def _bound(port: int) -> socket.socket:
    made = socket.socket()
    try:
        # Not SO_REUSEADDR: with it, another user's socket with the same could be bound beside one that does not listen.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind((HOST, port))
    except OSError:
        made.close()
        raise
    return made
