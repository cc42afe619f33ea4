"""A real OpenSSH server for a test: own configuration, own keys, on loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
SetEnv HOME={folder}/home
"""
_SFTP = "Subsystem sftp internal-sftp\n"


def program() -> str | None:
    """The sshd of this machine; it wants to be called by its full path."""
    return shutil.which("sshd") or next((path for path in ("/usr/sbin/sshd",) if Path(path).is_file()), None)


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports on which nothing listens."""
    with ExitStack() as stack:
        return [stack.enter_context(socket.create_server((address, 0))).getsockname()[1] for _ in range(count)]


@dataclass
class Sshd:
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory.yaml"

    def sessions(self) -> list[int]:
        """Processes of open connections: children of the server."""
        children = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self.process.pid and fields[0] != "Z":
                    children.append(int(entry))
        return children

    def kill_sessions(self) -> None:
        """Cut every connection; one process of a connection may end by the other's death."""
        for pid in self.sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self.kill_sessions()
        self.process.terminate()
        self.process.wait()


def start(
    folder: Path,
    address: str = "127.0.0.1",
    extra: str = "",
    prefix: Sequence[str] = (),
    port: int = 0,
    sftp: bool = False,
) -> Sshd:
    """Start a server in a new folder, with an inventory of one device, ``real``, whose host key is pinned.

    Args:
        extra: Lines for its configuration.
        sftp: Offer it; jetlane needs none.
        prefix: What to start it with, such as ``ip netns exec NAME``; a port must be given then.
    """
    (folder / "home").mkdir(parents=True)  # away from the user's own, whose shell may read a lot at every command
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)  # where a root sshd separates its privileges
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    if not port:
        (port,) = free_ports(1, address)
    (folder / "sshd_config").write_text(
        _CONFIG.format(address=address, port=port, folder=folder) + extra + _SFTP * sftp
    )
    log = open(folder / "sshd.log", "wb")  # noqa: SIM115
    with log:
        process = subprocess.Popen([*prefix, program() or "sshd", "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    key = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{address}]:{port} {key[0]} {key[1]}\n")
    (folder / "inventory.yaml").write_text(
        f"devices:\n  real: {{host: {address}, port: {port}, user: {getpass.getuser()}, key: user_key, agent: false,\n"
        f"         root: {folder}/board, python: {sys.executable}}}\n"
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((address, port), 1).close()
            return Sshd(folder, port, process)
        except OSError:
            time.sleep(0.02)
    raise RuntimeError((folder / "sshd.log").read_text())
