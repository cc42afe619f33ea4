"""Virtual Jetsons: SSH servers on loopback, each with its own host key and home, running the real agent.

They live in one process of their own and in one folder::

    <folder>/inventory.yaml  known_hosts  user_key  server.json  server.log
    <folder>/<name>/host_key  home/             what the board's user sees as its home
    <folder>/<name>/fault.json                  a fault to happen once; for tests
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.specs.errors import DeviceError
from jetlane.specs.support.local_files import in_words, locked, private_folder, read_json, room_at
from jetlane.specs.support.processes import start_ticks

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device

HOST = "127.0.0.1"
USER = "jetson"
#: In the environment of everything a virtual Jetson runs, so that switching it off ends all of it and nothing else.
MARK = "JETLANE_VIRTUAL_JETSON"
#: A file beside the virtual Jetsons that keeps them running between runs.
STAYS = "stays"
#: Holds the server's process and the ports.
_STATE = "server.json"
_START_SECONDS = 30.0

#: Servers that this process started, to reap them when they end.
_servers: dict[Path, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class VirtualDevice:
    """One virtual Jetson.

    Attributes:
        home: Its user's home; the agent's folder is ``home/jetlane``.
    """

    name: str
    port: int
    home: Path


@dataclass(frozen=True)
class VirtualFleet:
    """The virtual Jetsons of one folder.

    Attributes:
        inventory: Inventory file with their addresses, key and pinned host keys.
        pid: The process that serves them.
    """

    folder: Path
    inventory: Path
    devices: tuple[VirtualDevice, ...]
    pid: int

    def device(self, name: str) -> VirtualDevice:
        return next(device for device in self.devices if device.name == name)


def numbered(count: int) -> list[str]:
    """Names of ``count`` virtual Jetsons; a larger fleet includes the boards of a smaller one."""
    return [f"virtual-jetson-{number + 1}" for number in range(count)]


def start(
    folder: Path,
    names: Sequence[str] = ("virtual-jetson",),
    python: Optional[str] = None,
    key: Optional[bytes] = None,
) -> VirtualFleet:
    """Start virtual Jetsons, or find them running. Others of the folder that are on stay on.

    Ports, keys and homes are those of the last start, so that a stopped fleet comes back as it was. They stop with the
    process that started them, however it ends, unless the file ``stays`` exists.

    Where one is missing among those that are on, they are switched off for a moment, and all are started together.

    Args:
        folder: Made when missing.
        python: The interpreter on the boards, with numpy and onnxruntime; this one unless named.
        key: Public key that new boards are made with, as `jetlane device enroll` would install it; none unless given.

    Raises:
        DeviceError: The server did not come up; with the end of its log.
        WorkspaceError: The folder cannot be written.
    """
    folder = Path(folder).absolute()
    with in_words(folder):
        private_folder(folder)
        with locked(folder / _STATE):  # two processes that start them at once would stop each other's
            return _start(folder, names, python, key)


def _start(folder: Path, names: Sequence[str], python: Optional[str], key: Optional[bytes]) -> VirtualFleet:
    running = find(folder)
    on = [device.name for device in running.devices] if running is not None else []
    if running is not None and set(names) <= set(on):
        return running
    names = [*on, *(name for name in names if name not in on)]
    stop(folder)
    (folder / _STATE).unlink(missing_ok=True)
    if key is not None:
        _make_boards(folder, names, key)
    command = [sys.executable, "-m", "jetlane.remote.virtual.server", str(folder), python or sys.executable, *names]
    with open(folder / "server.log", "ab") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # closes with this process; that is how the server notices
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, MARK: str(folder)},
        )
    _servers[folder] = server
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        running = find(folder)
        if running is not None:
            return running
        time.sleep(0.02)
    stop(folder)
    end = (folder / "server.log").read_text(errors="replace")[-2000:].strip()
    why = f"{end}\n{room_at(folder)}".strip()
    raise DeviceError(f"the virtual Jetson in {folder} did not start", why, "see server.log there")


def _make_boards(folder: Path, names: Sequence[str], key: bytes) -> None:
    """Create missing boards with the key installed; existing ones are not changed."""
    from jetlane.remote.agent.commands import keys
    from jetlane.remote.agent.errors import AgentError
    from jetlane.remote.agent.store import Store

    for root in (folder / name / "home" / "jetlane" for name in names):
        if root.exists():
            continue
        draft = root.with_name(f".{root.name}.new")  # a half-made board would accept any release
        shutil.rmtree(draft, ignore_errors=True)
        try:
            with in_words(folder):
                keys.keys(Store(str(draft)), {"action": "install", "public": key.hex()})
                os.rename(draft, root)
        except AgentError as error:
            raise DeviceError(error.what, error.why, error.remedy, error.kind) from error


def is_virtual(device: Device) -> bool:
    """Whether a device of an inventory is a virtual Jetson: it is logged in to with the key that ``start`` made."""
    return device.key is not None and (Path(device.key).parent / _STATE).exists()


def find(folder: Path) -> Optional[VirtualFleet]:
    """The virtual Jetsons that run in a folder, or None."""
    folder = Path(folder).absolute()
    state = read_json(folder / _STATE)
    try:
        pid, ports = int(state["pid"]), {str(name): int(port) for name, port in state["ports"].items()}
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):  # none, or damaged: it is made again
        return None
    if not _ours(pid, folder):
        return None
    devices = tuple(VirtualDevice(name, port, folder / name / "home") for name, port in ports.items())
    return VirtualFleet(folder, folder / "inventory.yaml", devices, pid)


def stop(folder: Path, power_cut: bool = False) -> bool:
    """Stop the virtual Jetsons of a folder, with everything that runs on them.

    Args:
        power_cut: Kill at once, without time to shut down.

    Returns:
        False when none ran.
    """
    folder = Path(folder).absolute()
    ran = False
    deadline = time.monotonic() + 10.0
    while True:
        pids = [pid for pid in _processes() if _ours(pid, folder)]
        if not pids:
            server = _servers.pop(folder, None)
            if server is not None:
                server.communicate()
            return ran
        ran = True
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL if power_cut or time.monotonic() > deadline - 8.0 else signal.SIGTERM)
            except ProcessLookupError:
                continue
        if folder in _servers:
            _servers[folder].poll()
        if time.monotonic() > deadline:
            raise DeviceError(f"the virtual Jetson in {folder} does not stop", f"processes {pids}")
        time.sleep(0.05)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def _ours(pid: int, folder: Path) -> bool:
    """Whether a process was started by the virtual Jetsons of this folder."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return start_ticks(pid) is not None and f"{MARK}={folder}".encode() in environment.split(b"\0")
