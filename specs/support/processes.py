"""The identity of a process, and its end.

The identity is its pid and when it started, as a pid alone is given to another process later.
"""

from __future__ import annotations

import os
import socket
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

_KERNEL = "boot "


def start_ticks(pid: int) -> Optional[int]:
    """When a process was started, in clock ticks since the machine was; None when it has ended or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] == "Z" else int(stat[19])


def boot_id() -> str:
    """Identifies this machine since its start; containers that do not see each other's processes differ.

    Where it is not known, the answer is different every time.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:18]}:{os.readlink('/proc/self/ns/pid')}"[:40]
    except OSError:
        return f"{socket.gethostname()[:20]}:{uuid.uuid4().hex}"[:40]


def end_with_input(process: subprocess.Popen[bytes], seconds: float = 10) -> None:
    """End a process of ours that ends when its standard input closes; kill it where it does not in time."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class ProcessIdentity:
    """A process as it is noted in a file.

    Attributes:
        since: ``boot_id`` and ``start_ticks``; the words of ``ps`` where there is no /proc, and in files of 0.1.
    """

    pid: int
    since: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """The identity of a running process; ``since`` is empty when it has ended."""
        if Path("/proc/self/stat").exists():
            return cls(pid, _by_kernel(pid) or "")
        return cls(pid, _by_ps(pid) or "")

    @property
    def runs(self) -> bool:
        """Whether this very process still runs."""
        if not self.since:
            return False
        return (_by_kernel(self.pid) if self.since.startswith(_KERNEL) else _by_ps(self.pid)) == self.since


def _by_kernel(pid: int) -> Optional[str]:
    ticks = start_ticks(pid)
    return None if ticks is None else f"{_KERNEL}{boot_id()} {ticks}"


def _by_ps(pid: int) -> Optional[str]:
    """When a process started, in the words of ``ps``."""
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    words = done.stdout.split(None, 1)
    return None if len(words) < 2 or words[0].startswith("Z") else words[1].strip()
