"""The Prefect server of a run: the one PREFECT_API_URL names, or a private one that lives as long as the run.

Prefect's own ephemeral mode is not used: it prints pages of lock errors. This module does not import Prefect, so that a
server can start while the rest of the program is still being imported.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.workspace import Workspace

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    # Warnings and worse reach the terminal; a run's own progress is printed by the run.
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_STARTUP_SECONDS = 120


def healthy(url: str, timeout: float = 1.0) -> bool:
    """Whether a Prefect API answers at a URL that ends in ``/api``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout) as answer:
            return answer.status == 200
    except (OSError, ValueError):
        return False


def ask(url: str, body: Mapping[str, Any]) -> Any:
    """What a Prefect API answers to a posted JSON body."""
    headers = {"Content-Type": "application/json"}
    posted = urllib.request.Request(url, json.dumps(dict(body)).encode(), headers, method="POST")
    with urllib.request.urlopen(posted, timeout=10) as answer:
        return json.load(answer)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until_healthy(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    """Return when the server answers.

    Raises:
        JetlaneError: It ended, or did not answer within two minutes; the log's last lines are the reason.
    """
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not healthy(url):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace").strip().splitlines()[-8:]
            raise JetlaneError(
                "the local Prefect server did not start", "\n".join(tail) or "it said nothing", f"its log is {log}"
            )
        time.sleep(0.05)


class PrefectApi(AbstractContextManager["PrefectApi"]):
    """PREFECT_API_URL for this process: as it was set, or of a private server that stops with the ``with`` block.

    Entering does not wait for the server; ``wait`` does. Each server of a workspace has a home of its own
    (``<workspace>/prefect/0``, ``1``, ...), taken by a lock: two servers on one SQLite file lock each other out.

    Args:
        workspace: Where the server's home and log are kept.
    """

    def __init__(self, workspace: Path) -> None:
        self._workspace = Path(workspace)
        self._folder = self._workspace / "prefect"
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._log = self._folder / "server.log"
        self._migrated = self._folder
        self._lock: Any = None

    def __enter__(self) -> PrefectApi:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        if not os.environ.get("PREFECT_API_URL"):
            self._start()
        return self

    def _start(self) -> None:
        home = self._take_home()
        port = free_port()
        self._log = home / "server.log"
        self._migrated = home / f"migrated-{version('prefect')}"
        self._before = {name: os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_HOME")}
        os.environ["PREFECT_HOME"] = str(home)
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jetlane.flows.private_server", str(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._server_settings()},
                start_new_session=True,  # Ctrl-C ends the run first, and the run ends the server
            )
        os.environ["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"

    def _server_settings(self) -> Mapping[str, str]:
        settings = {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
        if self._migrated.exists() and (self._migrated.parent / "prefect.db").exists():  # saves a second of the start
            settings["PREFECT_API_DATABASE_MIGRATE_ON_START"] = "false"
        return settings

    def _take_home(self) -> Path:
        from filelock import FileLock, Timeout

        slot = 0
        workspace = Workspace(self._workspace)
        while True:
            home = workspace.folder("prefect", str(slot))
            self._lock = FileLock(home / "lock")
            try:
                self._lock.acquire(timeout=0)
                return home
            except Timeout:
                slot += 1

    def wait(self) -> None:
        """Return when the API answers.

        Raises:
            JetlaneError: It does not.
        """
        url = os.environ["PREFECT_API_URL"]
        if self._process is None:
            if not healthy(url, timeout=5):
                raise JetlaneError(
                    f"no Prefect server answers at {url}",
                    "PREFECT_API_URL is set",
                    "start that server (`jetlane up`), or unset PREFECT_API_URL to run with a private one",
                )
            return
        wait_until_healthy(url, self._process, self._log)
        self._migrated.touch()

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._process is None:
            return
        _flush_logs()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._lock.release()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _flush_logs() -> None:
    """Send what Prefect still holds back before its server goes."""
    handlers = sys.modules.get("prefect.logging.handlers")
    if handlers is not None:
        handlers.APILogWorker.drain_all(timeout=5)
