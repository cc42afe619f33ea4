"""One SSH connection to one device: strict host keys, the agent's events, streamed uploads."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.inventory import Device
from jetlane.remote.login import SILENCE, logged_in
from jetlane.remote.ssh_config import resolve
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    import paramiko

#: Seconds for starting a command on an open connection.
OPEN = 10.0
KEEPALIVE = 10
_CHUNK = 1 << 17
#: Bytes that may be sent and not yet taken in: enough for any path of some milliseconds, and what 75 MB/s need on a
#: longer one.
_UNDER_WAY, _FAST = 512 << 10, 75e6
#: Seconds after which more is sent all the same.
_PATIENCE = 5.0
#: Takes a file in where there is no agent yet. It needs the agent's Python alone: not every board has SFTP.
_PLACE = """\
import json, os, sys
path, size = sys.argv[1], int(sys.argv[2])
part = "%s.part%d" % (path, os.getpid())
try:
    os.umask(0o077)
    sys.stdin.buffer.readline()
    content = sys.stdin.buffer.read(size)
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if len(content) == size:
            os.replace(part, path)
            print(json.dumps({"event": "result"}))
    finally:
        if os.path.exists(part):
            os.unlink(part)
except OSError as error:
    print(json.dumps({
        "event": "error", "kind": "disk", "what": "the agent cannot be placed at " + path, "why": str(error),
        "remedy": "see that the disk is not full, and the folder can be written",
    }))
"""

Event = Mapping[str, Any]
OnEvent = Callable[[Event], None]
Feed = Callable[[Event, Callable[[bytes], None]], None]


class AgentFailure(DeviceError):
    """The agent itself said what failed; ``kind`` is its word for it."""


class Connection:
    """An open connection; made by ``connect``."""

    def __init__(self, device: Device, client: paramiko.SSHClient) -> None:
        self.device = device
        self._client = client
        self._round_trip = float("inf")

    def run(
        self,
        arguments: Sequence[str],
        request: Mapping[str, Any],
        on_event: Optional[OnEvent] = None,
        payload: bytes = b"",
        feed: Optional[Feed] = None,
    ) -> dict[str, Any]:
        """Run a program that speaks JSON lines, and return its ``result``.

        Args:
            arguments: The argv; each is quoted for the remote shell.
            request: Written to its standard input as one line, ``payload`` right after it.
            on_event: Sees every event.
            feed: Called with a ``need`` event and a function that sends bytes.

        Raises:
            AgentFailure: It ended with an ``error`` event.
            DeviceError: The connection was lost, or the program did not speak.
        """
        channel = self._open(" ".join(shlex.quote(argument) for argument in arguments))
        send = _Sender(channel, self._round_trip)
        try:
            with suppress(EOFError):
                send(json.dumps(dict(request)).encode() + b"\n" + payload)
                if feed is None:
                    channel.shutdown_write()
            for event in self._events(channel):
                if on_event is not None:
                    on_event(event)
                kind = event.get("event")
                if kind == "need" and feed is not None:
                    with suppress(EOFError):  # the other side has ended: its last words, still to be read, tell why
                        feed(event, send)
                        channel.shutdown_write()
                elif kind == "result":
                    return {name: value for name, value in event.items() if name != "event"}
                elif kind == "error":
                    raise AgentFailure(
                        f"{self.device.name}: {event.get('what')}",
                        str(event.get("why") or ""),
                        str(event.get("remedy") or ""),
                        str(event.get("kind") or "failed"),
                    )
            raise self._silent(channel)
        finally:
            channel.close()

    def place(self, content: bytes, path: str) -> None:
        """Put a small file on the device, whole or not at all; its folder is made when missing.

        Raises:
            DeviceError: The device does not take it.
        """
        self.run([self.device.python, "-I", "-c", _PLACE, path, str(len(content))], {}, payload=content)

    def _open(self, command: str) -> paramiko.Channel:
        import paramiko

        transport = self._client.get_transport()
        try:
            if transport is None:
                raise EOFError("the connection is closed")
            asked = time.monotonic()
            channel = transport.open_session(timeout=OPEN)
            self._round_trip = min(self._round_trip, time.monotonic() - asked)
            channel.settimeout(SILENCE)
            channel.exec_command(command)
            return channel
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise _lost(self.device, str(error)) from error

    def _events(self, channel: paramiko.Channel) -> Iterator[Event]:
        held = b""
        while True:
            try:
                chunk = channel.recv(_CHUNK)
            except socket.timeout as error:
                raise _lost(self.device, f"nothing was heard from it for {SILENCE:.0f} s") from error
            held += chunk
            *lines, held = held.split(b"\n")
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # something a login script printed
                if isinstance(event, dict):
                    yield event
            if not chunk:
                return

    def _silent(self, channel: paramiko.Channel) -> DeviceError:
        """The program ended without a result: say what is known."""
        deadline = time.monotonic() + 2.0
        while not channel.exit_status_ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not channel.exit_status_ready() or channel.exit_status < 0:
            return _lost(self.device, "it ended in the middle of a command")
        words = b""
        while channel.recv_stderr_ready():
            words += channel.recv_stderr(_CHUNK)
        if channel.exit_status in (126, 127):
            return DeviceError(
                f"{self.device.name}: {self.device.python} cannot be run there",
                words.decode("utf-8", "replace").strip(),
                "name the board's Python as `python` in the inventory",
                "python",
            )
        return DeviceError(
            f"{self.device.name}: the agent ended with exit code {channel.exit_status} and no result",
            words.decode("utf-8", "replace").strip()[-2000:],
            "see that the Python named in the inventory is 3.6 or later",
        )


@contextmanager
def connect(device: Device) -> Iterator[Connection]:
    """Open a connection, for the time of a ``with`` block.

    Raises:
        DeviceError: The device is off, refuses the key, or its host key is unknown or changed.
    """
    with logged_in(resolve(device)) as client:
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(KEEPALIVE)
        yield Connection(device, client)


def _lost(device: Device, why: str) -> AgentFailure:
    return AgentFailure(
        f"{device.name}: the connection was lost",
        why,
        "run again: what arrived is kept, and a build that was running goes on",
        "cut",
    )


class _Sender:
    """Writes to a program's standard input, without letting more get under way than the path is worth.

    OpenSSH's window is 2 MiB. On a short path it fills with bytes that gain nothing, and that are lost when the
    connection is cut; on a long one they are what keeps it busy. Of other servers the whole window is used, as some say
    only when half of it has been emptied that there is room again; OpenSSH says so every three packets.
    """

    def __init__(self, channel: paramiko.Channel, round_trip: float) -> None:
        self._channel = channel
        self._window = channel.out_window_size
        short = "OpenSSH" in channel.get_transport().remote_version and round_trip < 1.0
        self._under_way = max(_UNDER_WAY, int(round_trip * _FAST)) if short else self._window

    def __call__(self, data: bytes) -> None:
        """Send all of it; EOFError when the other side has ended."""
        channel = self._channel
        try:
            with channel.out_buffer_cv:
                channel.out_buffer_cv.wait_for(self._has_room, _PATIENCE)
            channel.sendall(data)
        except OSError as error:
            raise EOFError from error

    def _has_room(self) -> bool:
        channel = self._channel
        return bool(channel.closed or self._window - channel.out_window_size <= self._under_way)
