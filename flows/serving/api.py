"""Ask a Prefect API over plain HTTP, without importing Prefect: a server can start while that is being imported."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.flows.serving.ports import HOST
from jetlane.specs.errors import JetlaneError

#: Environment of whatever talks to a local server.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    # Warnings and worse reach the terminal; a run's own progress is printed by the run.
    "PREFECT_LOGGING_LEVEL": "WARNING",
}
_STARTUP_SECONDS = 120
_BUSY_SECONDS = 30


def healthy(url: str, timeout: float = 1.0) -> bool:
    """Whether a Prefect API answers at a URL that ends in ``/api``."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=timeout) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def ask(
    url: str,
    body: Union[Mapping[str, Any], Sequence[Any], None] = None,
    login: Optional[str] = None,
    method: Optional[str] = None,
) -> Any:
    """What a Prefect API answers to a posted JSON body, or to a GET when there is none.

    Args:
        login: The server's authentication string.
        method: Instead of POST or GET.

    Raises:
        OSError: It refuses (``HTTPError``), is too busy for half a minute, or does not answer.
    """
    headers = {"Content-Type": "application/json"}
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:  # its database is locked, and nothing was done
            if error.code != 503 or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def server_settings(port: int, login: str) -> Mapping[str, str]:
    """Environment of a server process that serves its owner alone (``jetlane.flows.serving.server_process``)."""
    return {"PREFECT_SERVER_API_AUTH_STRING": login, "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port}"}


def wait_until_healthy(url: str, process: subprocess.Popen[Any], log: Path) -> None:
    """Return when the server answers.

    Raises:
        JetlaneError: It ended, or did not answer within two minutes; the log's last lines are the reason.
    """
    deadline = time.monotonic() + _STARTUP_SECONDS
    while not healthy(url):
        if process.poll() is not None or time.monotonic() > deadline:
            why = last_lines(log) or "its log is empty"
            raise JetlaneError("the local Prefect server did not start", why, f"its log is {log}")
        time.sleep(0.05)


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log."""
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-count:])
