"""The Prefect server of a run: the one PREFECT_API_URL names, or a private one that lives as long as the run.

Prefect's own ephemeral mode is not used: it prints pages of lock errors. This module does not import Prefect, so that a
server can start while the rest of the program is still being imported.
"""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Optional

from jetlane.flows.serving import private_files
from jetlane.flows.serving.api import QUIET, ask, healthy, server_settings, wait_until_healthy
from jetlane.flows.serving.ports import HOST, reserve
from jetlane.flows.serving.up_state import UP, local_server, new_login
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.processes import end_with_input
from jetlane.tasks.run.workspace import Workspace


class PrefectApi(AbstractContextManager["PrefectApi"]):
    """PREFECT_API_URL for this process: as it was set, or of a private server that stops with the ``with`` block.

    Entering does not wait for the server; ``wait`` does. Each private server of a workspace has a home of its own
    (``<workspace>/prefect/0``, ``1``, ...), taken by a lock: two servers on one SQLite file lock each other out. Its
    login is in the memory and environment of this process, its children and the server alone. The login of a server
    that ``jetlane up`` started in this workspace or folder is found by itself.

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
        self._port: Any = None
        self._before: dict[str, Optional[str]] = {}

    def __enter__(self) -> PrefectApi:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        url = os.environ.get("PREFECT_API_URL")
        if url:
            self._set(local_server(url, self._workspace / UP.name) or local_server(url))
        else:
            self._start()
        return self

    def _start(self) -> None:
        home = self._take_home()
        self._port = reserve()
        port, login = self._port.getsockname()[1], new_login()
        self._log = home / "server.log"
        self._migrated = home / f"migrated-{version('prefect')}"
        self._set({"PREFECT_HOME": str(home), "PREFECT_API_AUTH_STRING": login})
        with open(self._log, "wb", opener=private_files.opener) as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jetlane.flows.serving.server_process", "private", str(port)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._private_settings(), **server_settings(port, login)},
                start_new_session=True,  # Ctrl-C ends the run first, and the run ends the server
            )
        self._set({"PREFECT_API_URL": f"http://{HOST}:{port}/api"})

    def _set(self, environment: Mapping[str, str]) -> None:
        for name in environment:
            self._before.setdefault(name, os.environ.get(name))
        os.environ.update(environment)

    def _private_settings(self) -> Mapping[str, str]:
        settings = {"PREFECT_SERVER_UI_ENABLED": "false", "PREFECT_API_BLOCKS_REGISTER_ON_START": "false"}
        if self._migrated.exists() and (self._migrated.parent / "prefect.db").exists():  # saves a second of the start
            settings["PREFECT_API_DATABASE_MIGRATE_ON_START"] = "false"
        return settings

    def _take_home(self) -> Path:
        from filelock import FileLock, Timeout

        slot = 0
        workspace = Workspace(self._workspace)
        private_files.close_to_others(workspace.folder("prefect"))
        while True:
            home = workspace.folder("prefect", str(slot))
            self._lock = FileLock(home / "lock", mode=0o600)
            try:
                self._lock.acquire(timeout=0)
                home.chmod(0o700)
                return home
            except Timeout:
                slot += 1

    def wait(self) -> None:
        """Return when the API answers.

        Raises:
            JetlaneError: It does not, or not to this process.
        """
        url = os.environ["PREFECT_API_URL"]
        if self._process is None:
            if not healthy(url, timeout=5):
                raise JetlaneError(
                    f"no Prefect server answers at {url}",
                    "PREFECT_API_URL is set",
                    "start that server (`jetlane up`), or unset PREFECT_API_URL to run with a private one",
                )
            _check_login(url)
            return
        wait_until_healthy(url, self._process, self._log)
        self._migrated.touch(mode=0o600)

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._process is not None:
            _flush_logs()
            end_with_input(self._process)
            self._port.close()
            self._lock.release()
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check_login(url: str) -> None:
    """
    Raises:
        JetlaneError: The server wants another login than PREFECT_API_AUTH_STRING.
    """
    if os.environ.get("PREFECT_API_KEY"):  # Prefect Cloud's
        return
    try:
        ask(f"{url}/admin/version", login=os.environ.get("PREFECT_API_AUTH_STRING"))
    except urllib.error.HTTPError as error:
        if error.code == 401:
            raise JetlaneError(
                f"the Prefect server at {url} refuses the login",
                "PREFECT_API_AUTH_STRING is not set, or is not that server's",
                "take it from the workspace where the server was started: "
                f'export PREFECT_API_AUTH_STRING="$(cat {UP}/login)"',
            ) from error
    except (OSError, ValueError):  # other servers need not have this page
        return


def _flush_logs() -> None:
    """Send what Prefect still holds back before its server goes."""
    handlers = sys.modules.get("prefect.logging.handlers")
    if handlers is not None:
        handlers.APILogWorker.drain_all(timeout=5)
