"""What ``jetlane up`` notes in ``<workspace>/up``, and what others read there to find its server and log in.

``state.json`` holds the API's address and the processes; ``login`` the server's authentication string. Both are the
owner's alone. A process counts as ours only while it was started when the state says it was, so a number that the
system gave to another process since is never signalled, and never sent a login.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Optional

from jetlane.specs.defaults import WORKSPACE
from jetlane.specs.support.local_files import PRIVATE, read_json, write_atomic
from jetlane.specs.support.processes import ProcessIdentity

#: The folder of ``jetlane up`` in the current folder.
UP = Path(WORKSPACE) / "up"


def new_login() -> str:
    """A random authentication string, in the form that Prefect asks for."""
    return f"jetlane:{secrets.token_urlsafe(32)}"


class UpState:
    """The notes of one workspace's ``jetlane up``.

    Args:
        folder: ``<workspace>/up``; it need not exist to be read.
    """

    def __init__(self, folder: Path) -> None:
        self.login_file = folder / "login"
        self._file = folder / "state.json"

    @property
    def url(self) -> Optional[str]:
        """The API's address."""
        url = self._read().get("url")
        return url if isinstance(url, str) else None

    @property
    def login(self) -> Optional[str]:
        """The server's authentication string; None for a server of jetlane 0.1, which asks for none."""
        try:
            return self.login_file.read_text().strip() or None
        except (OSError, ValueError):
            return None

    def process(self, name: str) -> Optional[ProcessIdentity]:
        """``server`` or ``worker``, when it runs."""
        known = _noted(self._read(), name)
        return known if known is not None and known.runs else None

    def server(self) -> Optional[tuple[str, str]]:
        """Address and login of the server, when it runs."""
        url, login = self.url, self.login
        return (url, login) if self.process("server") is not None and url and login else None

    def renew_login(self) -> None:
        write_atomic(self.login_file, new_login() + "\n", PRIVATE)

    def note(self, url: str, name: str, pid: int) -> None:
        """Note down a process that was just started."""
        known = self._read().get("processes")
        processes = dict(known) if isinstance(known, dict) else {}
        processes[name] = asdict(ProcessIdentity.of(pid))
        write_atomic(self._file, json.dumps({"url": url, "processes": processes}, indent=1), PRIVATE)

    def clear(self) -> None:
        for file in (self._file, self.login_file):
            file.unlink(missing_ok=True)

    def _read(self) -> dict[str, object]:
        state = read_json(self._file)
        return state if isinstance(state, dict) else {}


def _noted(state: Mapping[str, object], name: str) -> Optional[ProcessIdentity]:
    processes = state.get("processes")
    entry = processes.get(name) if isinstance(processes, dict) else None
    try:
        return ProcessIdentity(int(entry["pid"]), str(entry["since"])) if entry else None
    except (KeyError, TypeError, ValueError):
        return None


def local_server(url: Optional[str] = None, folder: Path = UP) -> dict[str, str]:
    """Environment of clients of the server that ``jetlane up`` started: its address and its login.

    Args:
        url: The address that is set already; a login is never told to any other.

    Returns:
        Nothing when no server of that folder runs, or ``url`` names another one.
    """
    state = UpState(folder)
    known = state.url
    if known is None or (url and url.rstrip("/") != known) or state.process("server") is None:
        return {}
    login = state.login
    return {"PREFECT_API_URL": known, **({"PREFECT_API_AUTH_STRING": login} if login else {})}
