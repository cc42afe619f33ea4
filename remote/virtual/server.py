"""The server of the virtual Jetsons: asyncssh, one listener per board, no shell."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shlex
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

import asyncssh

from jetlane.remote.virtual.fleet import HOST, STAYS, USER
from jetlane.specs.support.local_files import PRIVATE, locked, read_json, write_atomic

_CHUNK = 1 << 16
#: Open files that the server asks for.
_FILES = 8192


class Board:
    """One virtual Jetson: its keys, its home, its listener."""

    def __init__(self, folder: Path, name: str, python: str) -> None:
        self.name = name
        self.folder = folder / name
        self.home = self.folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.host_key = _key(self.folder / "host_key")
        self._python = python
        self._user_key = folder / "user_key.pub"
        self.listener: Optional[asyncssh.SSHAcceptor] = None

    async def listen(self, port: int) -> int:
        """Listen on ``port`` if it is free, else on another. Returns the port."""
        options: dict[str, Any] = {
            "server_host_keys": [self.host_key],
            "authorized_client_keys": str(self._user_key),
            "process_factory": self._run,
            "allow_scp": False,
            "encoding": None,
            "login_timeout": 30,
        }
        try:
            self.listener = await asyncssh.listen(HOST, port, **options)
        except OSError:
            self.listener = await asyncssh.listen(HOST, 0, **options)
        return self.listener.get_port()

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Run a command's argv in the board's home. It continues when the connection ends, as on a real board."""
        try:
            argv = shlex.split(process.command or "")
            child = await asyncio.create_subprocess_exec(
                *argv, stdin=-1, stdout=-1, stderr=-1, cwd=self.home, env=self._environment()
            )
        except (OSError, ValueError) as error:
            process.stderr.write(f"{error}\n".encode())
            process.exit(127)
            return
        inwards = asyncio.create_task(self._inwards(process, child, "receive" in argv))
        with suppress(OSError, asyncssh.Error):
            await asyncio.gather(_pump(child.stdout, process.stdout), _pump(child.stderr, process.stderr))
        code = await child.wait()
        inwards.cancel()
        with suppress(OSError, asyncssh.Error):
            process.exit(code if code >= 0 else 128 - code)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SSH_"))}
        return {**kept, "HOME": str(self.home), "USER": USER}

    async def _inwards(self, process: asyncssh.SSHServerProcess[bytes], child: Any, upload: bool) -> None:
        """Feed the child what the client sends, with a fault where one was requested."""
        fault = self._take_fault() if upload else {}
        count = 0
        with suppress(OSError, asyncssh.Error):
            while chunk := await process.stdin.read(_CHUNK):
                before, count = count, count + len(chunk)
                cut, corrupt = fault.get("cut_after"), fault.get("corrupt_at")
                if corrupt is not None and before <= corrupt < count:
                    place = corrupt - before
                    chunk = chunk[:place] + bytes([chunk[place] ^ 0xFF]) + chunk[place + 1 :]
                if cut is not None and count >= cut:
                    child.stdin.write(chunk[: cut - before])
                    await child.stdin.drain()
                    process.channel.get_connection().abort()
                    break
                child.stdin.write(chunk)
                await child.stdin.drain()
        with suppress(OSError):
            child.stdin.close()

    def _take_fault(self) -> dict[str, int]:
        """``{"cut_after": n}`` or ``{"corrupt_at": n}``, counted in bytes of the upload; it happens once."""
        path = self.folder / "fault.json"
        try:
            fault = json.loads(path.read_text())
            path.unlink()
        except (OSError, ValueError):
            return {}
        return dict(fault)


async def serve(folder: Path, python: str, names: Sequence[str]) -> None:
    """Serve boards until SIGTERM, or the end of standard input; ``server.json`` appears when all of them listen."""
    _key(folder / "user_key")
    ports = _read_ports(folder)
    boards = [Board(folder, name, python) for name in names]
    for board in boards:
        ports[board.name] = await board.listen(ports.get(board.name, 0))
    served = {board.name: ports[board.name] for board in boards}
    write_atomic(folder / "ports.json", json.dumps(ports))
    with locked(folder / "known_hosts") as known_hosts:
        write_atomic(known_hosts, "".join(_pinned(board, served[board.name]) for board in boards))
    write_atomic(folder / "inventory.yaml", _inventory(served, python))
    write_atomic(folder / "server.json", json.dumps({"pid": os.getpid(), "ports": served}))
    done, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    threading.Thread(target=_wait_for_starter, args=(folder, loop, done), daemon=True).start()
    await done.wait()
    (folder / "server.json").unlink(missing_ok=True)
    for board in boards:
        if board.listener is not None:
            board.listener.close()
    # Sessions that still run end with the process: a board that is switched off finishes nothing.
    sys.stdout.flush()
    os._exit(0)


def _wait_for_starter(folder: Path, loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """Stop when the process that started the boards has ended, unless they are to stay."""
    while sys.stdin.buffer.read(1):
        pass
    if not (folder / STAYS).exists():
        loop.call_soon_threadsafe(done.set)


def _read_ports(folder: Path) -> dict[str, int]:
    """The ports of the last start: a board keeps its address over a restart."""
    known = read_json(folder / "ports.json")
    ports = known.items() if isinstance(known, dict) else ()
    return {name: port for name, port in ports if isinstance(port, int) and 0 < port < 1 << 16}


def _key(path: Path) -> asyncssh.SSHKey:
    """An ed25519 key in a file, made when missing or damaged; the file of its public half beside it."""
    try:
        key = asyncssh.read_private_key(str(path))
    except (OSError, ValueError):  # asyncssh's KeyImportError is one
        key = asyncssh.generate_private_key("ssh-ed25519")
        write_atomic(path, key.export_private_key(), PRIVATE)
    write_atomic(path.with_name(path.name + ".pub"), key.export_public_key())
    return key


def _pinned(board: Board, port: int) -> str:
    key = board.host_key.export_public_key().decode().split()
    return f"[{HOST}]:{port} {key[0]} {key[1]}\n"


def _inventory(ports: dict[str, int], python: str) -> str:
    reached = {"host": HOST, "user": USER, "key": "user_key", "agent": False, "ssh_config": False}
    defaults = {**reached, "python": python, "tags": ["virtual"]}
    rows = [f"  {json.dumps(name)}: {json.dumps({'port': port})}" for name, port in ports.items()]
    return f"# virtual Jetsons\ndefaults: {json.dumps(defaults)}\ndevices:\n" + "\n".join(rows) + "\n"


async def _pump(source: Any, sink: Any) -> None:
    while chunk := await source.read(_CHUNK):
        sink.write(chunk)
        await sink.drain()


def main(arguments: Sequence[str]) -> int:
    """``FOLDER PYTHON NAME...``: the process behind ``jetlane.remote.virtual.fleet.start``."""
    folder, python, *names = arguments
    _allow_many_files()
    asyncio.run(serve(Path(folder), python, names))
    return 0


def _allow_many_files() -> None:
    """200 boards listen on 200 sockets, and what runs on one of them takes six more; 1024 is a usual limit."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(_FILES, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
