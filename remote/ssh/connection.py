"""One SSH connection to one device: runs the agent, validates its messages, streams uploads."""

from __future__ import annotations

import json
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.inventory import Device
from jetlane.remote.protocol.dialogue import Dialogue, LineReader, Word
from jetlane.remote.protocol.events import Failure, Need, Sample, WholeFrame
from jetlane.remote.protocol.fields import Said
from jetlane.remote.protocol.results import plain
from jetlane.remote.ssh.config import resolve
from jetlane.remote.ssh.login import CONNECT, SILENCE, logged_in
from jetlane.remote.ssh.sender import Sender
from jetlane.remote.ssh.watchdog import GivenUp, Watchdog
from jetlane.specs.errors import DeviceError
from jetlane.specs.support.text import TEXT, harmless

if TYPE_CHECKING:
    import paramiko

#: Seconds for starting a command on an open connection.
OPEN = 10.0
#: Seconds for connecting in total, per host on the route; each stage of it has ``CONNECT``.
LOGIN = 4 * CONNECT
#: Seconds for installing the agent's file.
PLACING = 120.0
#: Seconds after which a read or write checks whether the work was given up, and reads standard error.
_POLL = 1.0
#: Bytes of a program's standard error that are kept.
_COMPLAINT = 1 << 16
KEEPALIVE = 10
#: Bytes per second below which a transfer is ended: bytes that were accepted, or came, extend its time limit at this
#: rate, so that a device that hardly moves does not block the turn of others for long.
SLOWEST = 16384
_CHUNK = 1 << 17
#: Receives a file where there is no agent yet. It needs only Python: not every board has SFTP.
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
Feed = Callable[[Need, Callable[[bytes], None]], None]
OnFrame = Callable[[WholeFrame], None]


class AgentFailure(DeviceError):
    """A failure that the agent reported; ``kind`` is the agent's."""


class Connection:
    """An open connection; made by ``connect``."""

    def __init__(self, device: Device, client: paramiko.SSHClient, watchdog: Watchdog) -> None:
        self.device, self.watchdog = device, watchdog
        self._client = client
        self._round_trip = float("inf")

    def run(
        self,
        arguments: Sequence[str],
        request: Mapping[str, Any],
        dialogue: Dialogue,
        limit: float,
        on_event: Optional[OnEvent] = None,
        payload: bytes = b"",
        feed: Optional[Feed] = None,
        on_frame: Optional[OnFrame] = None,
    ) -> dict[str, Any]:
        """Run a program that writes JSON lines, and return its ``result``; with ``samples`` where it sent any.

        Args:
            arguments: The argv; each is quoted for the remote shell.
            request: Written to its standard input as one line, followed by ``payload``.
            dialogue: The messages that it may send.
            limit: Seconds that it may take in total.
            on_event: Receives every event but the last, as JSON values.
            feed: Called with a ``need`` event and a function that sends bytes.
            on_frame: Receives each frame that was asked for.

        Raises:
            AgentFailure: It ended with an ``error`` event.
            BoardError: It sent a message that the agent never sends.
            DeviceError: The connection was lost, the program wrote no result, or took too long (kind ``deadline``).
        """
        import paramiko

        with self.watchdog.stage(dialogue.command, limit, SILENCE):
            channel = self._open(" ".join(shlex.quote(argument) for argument in arguments))
            complaint = bytearray()
            try:
                return self._converse(channel, request, dialogue, on_event, payload, feed, on_frame, complaint)
            finally:
                with suppress(EOFError, OSError, paramiko.SSHException):  # the way there may be gone
                    channel.close()

    def _converse(
        self,
        channel: paramiko.Channel,
        request: Mapping[str, Any],
        dialogue: Dialogue,
        on_event: Optional[OnEvent],
        payload: bytes,
        feed: Optional[Feed],
        on_frame: Optional[OnFrame],
        complaint: bytearray,
    ) -> dict[str, Any]:
        send = Sender(channel, self._round_trip, self.watchdog)
        with suppress(EOFError):
            send(json.dumps(dict(request)).encode() + b"\n" + payload)
            if feed is None:
                send.end()
        for word in self._messages(channel, dialogue, complaint):
            if isinstance(word, Failure):
                # marked as the device's own: an attacker on the device could have put a command there
                remedy = f"{self.device.name} says: {word.remedy}" if word.remedy else ""
                raise AgentFailure(f"{self.device.name}: {word.what}", word.why, remedy, word.kind)
            if isinstance(word, dialogue.result):
                shown = {"samples": [sample.model_dump() for sample in dialogue.samples]} if dialogue.samples else {}
                return {**plain(word), **shown}
            if isinstance(word, WholeFrame):
                if on_frame is not None:
                    on_frame(word)
                continue
            if on_event is not None:
                on_event(_event_of(word, dialogue))
            if isinstance(word, Need) and feed is not None:
                with suppress(EOFError):  # the other side has ended: its last messages, still unread, say why
                    feed(word, send)
                    send.end()
        raise self._silent(channel, complaint)

    def place(self, content: bytes, path: str) -> None:
        """Put a small file on the device in one step; its folder is created when missing.

        Raises:
            DeviceError: The device cannot store it.
        """
        arguments = [self.device.python, "-I", "-c", _PLACE, path, str(len(content))]
        self.run(arguments, {}, Dialogue(self.device.name, "place"), PLACING, payload=content)

    def _open(self, command: str) -> paramiko.Channel:
        transport = self._client.get_transport()
        try:
            if transport is None:
                raise EOFError("the connection is closed")
            asked = time.monotonic()
            with self.watchdog.stage("starting a command", 2 * OPEN, OPEN):
                channel = transport.open_session(timeout=OPEN)
                self._round_trip = min(self._round_trip, time.monotonic() - asked)
                channel.settimeout(_POLL)
                self.watchdog.heard()
                channel.exec_command(command)
            return channel
        except Exception as error:  # paramiko passes on whatever a wrong packet led to
            raise self._cut(str(error)) from error

    def _messages(self, channel: paramiko.Channel, dialogue: Dialogue, complaint: bytearray) -> Iterator[Word]:
        """The program's messages as they come, until it ends."""
        lines = LineReader(self.device.name, dialogue.command)
        while True:
            chunk = self._read(channel, lines, complaint)
            if chunk and lines.within:
                self.watchdog.heard()
                self.watchdog.earn(len(chunk) / SLOWEST)
            for line in lines.feed(chunk or b""):
                word = dialogue.take(line)
                lines.within = dialogue.awaited
                if word is not None:
                    self.watchdog.heard()
                    yield word
            if chunk == b"":
                return
            self.watchdog.check()

    def _read(self, channel: paramiko.Channel, lines: LineReader, complaint: bytearray) -> Optional[bytes]:
        """A piece of the program's output, None where none came; the end of its standard error is kept."""
        try:
            chunk = None
            with suppress(socket.timeout):
                chunk = channel.recv(_CHUNK)
            while channel.recv_stderr_ready():  # else it fills the window that it shares with the output
                complained = channel.recv_stderr(_CHUNK)
                lines.beside(len(complained))
                complaint += complained
                del complaint[:-_COMPLAINT]
            return chunk
        except DeviceError:
            raise
        except Exception as error:  # reading reopens the window, which failed
            raise self._cut(str(error)) from error

    def _cut(self, why: str) -> AgentFailure:
        """The error for a connection that has ended, with the cause that paramiko kept."""
        transport = self._client.get_transport()
        cause = str(transport.get_exception() or "") if transport is not None else ""
        return _lost(self.device, ": ".join(dict.fromkeys(filter(None, (why, cause)))))

    def _silent(self, channel: paramiko.Channel, complaint: bytearray) -> DeviceError:
        """The error for a program that ended without a result."""
        deadline = time.monotonic() + 2.0
        while not channel.exit_status_ready() and time.monotonic() < deadline:
            time.sleep(0.02)
        if not channel.exit_status_ready() or channel.exit_status < 0:
            return self._cut("it ended in the middle of a command")
        while channel.recv_stderr_ready() and len(complaint) < 2 * _COMPLAINT:
            complaint += channel.recv_stderr(_CHUNK)
        words = harmless(complaint[-2000:].decode("utf-8", "replace").strip(), TEXT, lines=True)
        if channel.exit_status in (126, 127):
            return DeviceError(
                f"{self.device.name}: {self.device.python} cannot be run there",
                words,
                "name the board's Python as `python` in the inventory",
                "python",
            )
        return DeviceError(
            f"{self.device.name}: the agent ended with exit code {channel.exit_status} and no result",
            words,
            "check that the Python named in the inventory is 3.6 or later",
        )


def _event_of(word: Said, dialogue: Dialogue) -> Event:
    """The event for ``on_event``; a sample is reported as progress."""
    if isinstance(word, Sample):
        return {"event": "progress", "step": dialogue.command, "done": len(dialogue.samples), "total": dialogue.expects}
    return word.model_dump(exclude_unset=True)


@contextmanager
def connect(device: Device, given_up: Optional[GivenUp] = None) -> Iterator[Connection]:
    """Open a connection, for the time of a ``with`` block.

    Args:
        given_up: Polled all the time; the exception it returns is raised and closes the connection.

    Raises:
        DeviceError: The device is off, refuses the key, or its host key is unknown or changed.
    """
    target = resolve(device)
    with Watchdog(device.name, given_up) as watchdog, ExitStack() as stack:
        with watchdog.stage("connecting", LOGIN * (1 + len(target.jump or ()))):
            try:
                client = stack.enter_context(logged_in(target, watchdog))
            except DeviceError as error:
                watchdog.explain(error)
                raise
        transport = client.get_transport()
        if transport is not None:
            transport.set_keepalive(KEEPALIVE)
        try:
            yield Connection(device, client, watchdog)
        except Exception as error:
            watchdog.explain(error)
            raise


def _lost(device: Device, why: str) -> AgentFailure:
    return AgentFailure(
        f"{device.name}: the connection was lost",
        harmless(why),
        "run again: what arrived is kept, and a build that was running goes on",
        "cut",
    )
