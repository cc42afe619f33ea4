"""The process that serves the doubles: ``python -m tests.remote.hostile.server FOLDER COUNT``; it ends with its input.

In the folder: ``inventory.yaml``, ``known_hosts`` and ``user_key``, as of virtual Jetsons, with four devices for each
double (``PORTS``); and for each a folder: ``case.json``, which is read at every connection;
``got/<case>/<number>-<command>``, every byte that came on standard input; ``got/<case>/said-<number>-<command>``, what
was answered.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import asyncssh

from . import tcp_relay
from .deviations import Act, Deviation, acts
from .honest import BEFORE, Memory

HOST, USER = "127.0.0.1", "jetson"
#: The ways to a double, with the window and the packets that it allows: as usual, small, vast, by ``tcp_relay``.
PORTS = {"plain": (1 << 20, 32768), "narrow": (1024, 512), "vast": (0xFFFFFFFF, 0x7FFFFFFF), "raw": (0, 0)}
#: Seconds after which a silent board ends at the latest, so that no case outlives the tests.
_FOR_EVER = 600.0
#: The agent's program, its guard, its path and digest, ``--root``, the root, and then the command.
_ARGUMENTS = 8


class Case:
    """One case, for as long as the server knows it: what deviates, and what the board remembers."""

    def __init__(self, folder: Path, given: dict[str, Any]) -> None:
        self.number = int(given["number"])
        deviation = given.get("deviation")
        self.deviation = Deviation(**deviation) if deviation else None
        self.memory = Memory.of(Path(given["again"])) if given.get("again") else Memory(current=BEFORE)
        self.commands = 0
        self.got = folder / "got" / str(self.number)
        self.got.mkdir(parents=True, exist_ok=True)

    def deviates(self, step: str) -> Optional[Deviation]:
        return self.deviation if self.deviation is not None and self.deviation.step == step else None


class Cases:
    """The case that the folder names now."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._known = folder, {}  # type: ignore[var-annotated]

    def now(self) -> Case:
        given = json.loads((self._folder / "case.json").read_text())
        number = int(given["number"])
        if number not in self._known:
            self._known = {number: Case(self._folder, given)}
        case: Case = self._known[number]
        return case


class Server(asyncssh.SSHServer):
    """One connection."""

    def __init__(self, cases: Cases, accepted: asyncssh.SSHKey) -> None:
        self._case, self._accepted = cases.now(), accepted
        self._deviation = self._case.deviates("connect")
        self._connection: Any = None

    def connection_made(self, connection: asyncssh.SSHServerConnection) -> None:
        self._connection = connection

    def begin_auth(self, username: str) -> Any:
        deviation = self._deviation
        if deviation is not None and deviation.kind == "greeting":
            self._connection.send_auth_banner("\x1b]52;c;aGk=\x07\x1b[2J" * max(1, deviation.count % 10_000))
        if deviation is not None and deviation.kind == "slow_login":
            return asyncio.sleep(_FOR_EVER, True)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> Any:
        deviation = self._deviation
        if deviation is not None and deviation.kind == "unauthenticated":
            return False
        return key.public_data == self._accepted.public_data

    def session_requested(self) -> Any:
        deviation = self._deviation
        if deviation is not None and deviation.kind == "no_session":
            raise asyncssh.ChannelOpenError(1 + deviation.at % 4, "\x1b]0;owned\x07\x1b[2J\u202e no", "\x1b[2J")
        if deviation is not None and deviation.kind == "late_session":
            return asyncio.sleep(_FOR_EVER, False)
        return Session(self._case)


class Session(asyncssh.SSHServerProcess):  # type: ignore[type-arg]
    """One command."""

    def __init__(self, case: Case) -> None:
        super().__init__(lambda process: Command(case, process).run(), None, 3, False)
        self._case = case

    def exec_requested(self, command: str) -> bool:
        deviation = self._case.deviates(named(command)[0])
        if deviation is not None and deviation.kind == "exec_refused":
            return False
        if deviation is not None and deviation.kind == "exec_unanswered":
            self._chan._report_response = lambda result: None  # type: ignore[method-assign]
        return super().exec_requested(command)


def named(line: str) -> tuple[str, list[str]]:
    """The agent's command in a command line, ``place`` for its file, and the words of the line."""
    words = shlex.split(line)
    return ("place" if words[1:2] == ["-I"] else words[_ARGUMENTS - 1] if len(words) >= _ARGUMENTS else ""), words


class Command:
    """Runs the acts of one command."""

    def __init__(self, case: Case, process: Any) -> None:
        self._case, self._process = case, process
        self._name, self._words = named(process.command)
        case.commands += 1
        label = f"{case.commands:03d}-{self._name}"
        self._got = open(case.got / label, "wb", buffering=0)  # noqa: SIM115  (as long as the command)
        self._said = open(case.got / f"said-{label}", "wb", buffering=0)  # noqa: SIM115
        self._came = bytearray()
        self._more, self._hears = asyncio.Event(), asyncio.Event()
        self._hears.set()
        self._over = False

    async def run(self) -> None:
        listening = asyncio.create_task(self._listen())
        try:
            with suppress(OSError, asyncssh.Error, BrokenPipeError, ConnectionError):
                await asyncio.wait_for(self._converse(), _FOR_EVER)
        finally:
            listening.cancel()
            self._got.close()
            self._said.close()

    async def _listen(self) -> None:
        with suppress(OSError, asyncssh.Error):
            while True:
                await self._hears.wait()
                chunk = await self._process.stdin.read(1 << 16)
                if not chunk:
                    break
                self._got.write(chunk)
                self._came += chunk
                self._more.set()
        self._over = True
        self._more.set()

    async def _until(self, count: int) -> bool:
        """Wait for so many bytes; whether they came."""
        while len(self._came) < count and not self._over:
            self._more.clear()
            await self._more.wait()
        return len(self._came) >= count

    async def _line(self) -> bytes:
        while (end := self._came.find(b"\n")) < 0:
            if not await self._until(len(self._came) + 1):
                return b""
        line = bytes(self._came[: end + 1])
        del self._came[: end + 1]
        return line

    async def _bytes(self, count: int) -> bytes:
        await self._until(count)
        taken = bytes(self._came[:count])
        del self._came[:count]
        return taken

    async def _converse(self) -> None:
        memory, deviation = self._case.memory, self._case.deviates(self._name)
        if deviation is not None and deviation.kind == "waits" and deviation.value == "deaf":
            self._hears.clear()
            await asyncio.sleep(_FOR_EVER)
        request = json.loads(await self._line() or b"{}")
        if self._name == "place":
            await self._bytes(int(self._words[-1]))
        else:
            memory.agent = self._words[4]
        if self._name == "receive":
            memory.take(request, await self._bytes(int(request["manifest_size"])))
        if self._name == "health" and self._case.deviates("rollback"):
            events = [_error("unhealthy")]
        elif self._name == "probe" and self._case.deviates("place") and self._case.commands == 1:
            events = [_error("agent")]
        else:
            events = memory.conversation(self._name, request)
        for act in acts(events, deviation):
            await self._do(act)

    async def _do(self, act: Act) -> None:
        name, given = act[0], act[1:]
        await getattr(self, f"_do_{name}")(*given)

    async def _do_write(self, data: bytes) -> None:
        self._said.write(data)
        self._process.stdout.write(data)
        await self._process.stdout.drain()

    async def _do_stderr(self, data: bytes) -> None:
        self._process.stderr.write(data)
        await self._process.stderr.drain()

    async def _do_wait(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _do_silence(self) -> None:
        await asyncio.sleep(_FOR_EVER)

    async def _do_deaf(self) -> None:
        self._hears.clear()
        await asyncio.sleep(_FOR_EVER)

    async def _do_ignore(self) -> None:
        """From here on nothing is read."""
        self._hears.clear()

    async def _do_repeat(self, data: bytes, pause: float, count: int) -> None:
        await self._repeat(self._process.stdout, data, pause, count)

    async def _do_stderr_repeat(self, data: bytes, pause: float, count: int) -> None:
        await self._repeat(self._process.stderr, data, pause, count)

    async def _repeat(self, stream: Any, data: bytes, pause: float, count: int) -> None:
        while count and not self._process.channel.is_closing():
            stream.write(data)
            await stream.drain()
            await asyncio.sleep(pause)
            count -= 1

    async def _do_drip(self, data: bytes, pause: float) -> None:
        self._said.write(data)
        for byte in data:
            self._process.stdout.write(bytes([byte]))
            await asyncio.sleep(pause)

    async def _do_upload(self) -> None:
        """Take in what the workstation sends, and remember the files of it."""
        memory = self._case.memory
        while line := await self._line():
            entry = json.loads(line)
            memory.files[entry["path"]] = await self._bytes(entry["size"] - entry["offset"])

    async def _do_exit(self, code: int) -> None:
        self._process.exit(code)

    async def _do_signal(self, name: str) -> None:
        self._process.exit_with_signal(name, False, "\x1b[2J", "en")

    async def _do_eof(self) -> None:
        self._process.channel.write_eof()

    async def _do_close(self) -> None:
        self._process.channel.close()

    async def _do_abort(self) -> None:
        self._process.channel.get_connection().abort()

    async def _do_unbound(self) -> None:
        """From here on no window is kept."""
        self._process.channel._send_window = 1 << 60

    async def _do_rekey(self) -> None:
        self._connection._send_kexinit()
        await asyncio.sleep(0.05)

    async def _do_packet(self, kind: int, data: bytes) -> None:
        self._connection.send_packet(kind, data)
        await asyncio.sleep(0)

    async def _do_packets(self, kind: int, data: bytes, count: int) -> None:
        for _ in range(count):
            self._connection.send_packet(kind, data)
        await asyncio.sleep(0)

    @property
    def _connection(self) -> Any:
        return self._process.channel.get_connection()


def _error(kind: str) -> dict[str, Any]:
    return {"event": "error", "what": "as a case needs it", "kind": kind}


async def serve(folder: Path, count: int) -> None:
    """Listen until the end of standard input; ``inventory.yaml`` appears when all doubles do."""
    key, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    (folder / "user_key").write_bytes(user.export_private_key())
    (folder / "user_key").chmod(0o600)
    ports: dict[str, int] = {}
    for number in range(count):
        name = f"hostile-{number:02d}"
        (folder / name).mkdir()
        ports.update({f"{name}-{way}": port for way, port in (await _listen(folder / name, key, user)).items()})
    kind, public = key.export_public_key().decode().split()[:2]
    (folder / "known_hosts").write_text("".join(f"[{HOST}]:{port} {kind} {public}\n" for port in ports.values()))
    reached = {"host": HOST, "user": USER, "key": str(folder / "user_key"), "agent": False, "ssh_config": False}
    devices = {name: {"port": port} for name, port in ports.items()}
    write_whole(folder / "inventory.yaml", json.dumps({"defaults": reached, "devices": devices}))
    ended = asyncio.Event()
    threading.Thread(target=_wait_for_starter, args=(asyncio.get_running_loop(), ended), daemon=True).start()
    await ended.wait()
    os._exit(0)


async def _listen(folder: Path, key: asyncssh.SSHKey, accepted: asyncssh.SSHKey) -> dict[str, int]:
    """Open one double's ways; returns their ports."""
    cases, ports = Cases(folder), {}
    for way, (window, packet) in PORTS.items():
        if way == "raw":
            ports[way] = await tcp_relay.listen(HOST, ports["plain"], lambda: cases.now().deviates("connect"))
            continue
        acceptor = await asyncssh.listen(
            HOST,
            0,
            server_factory=lambda: Server(cases, accepted),
            server_host_keys=[key],
            line_editor=False,
            encoding=None,
            window=window,
            max_pktsize=packet,
            login_timeout=_FOR_EVER,
        )
        ports[way] = acceptor.get_port()
    return ports


def _wait_for_starter(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while sys.stdin.buffer.read(1):
        pass
    loop.call_soon_threadsafe(ended.set)


def write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
