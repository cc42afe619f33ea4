"""Whether a process that was noted down still runs. Its number alone does not tell: the system gives it away again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Started:
    """A process: its number, and when the kernel started it."""

    pid: int
    since: str

    @property
    def runs(self) -> bool:
        return started_at(self.pid) == self.since


def started_at(pid: int) -> Optional[str]:
    """When a process started, as ``ps`` says; None when there is none, or only its remains."""
    done = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    words = done.stdout.split(None, 1)
    return None if len(words) < 2 or words[0].startswith("Z") else words[1].strip()


def noted(state: Mapping[str, object], name: str) -> Optional[Started]:
    """The process of that name in a state of ``jetlane up``."""
    processes = state.get("processes")
    entry = processes.get(name) if isinstance(processes, dict) else None
    try:
        return Started(int(entry["pid"]), str(entry["since"])) if entry else None
    except (KeyError, TypeError, ValueError):
        return None
