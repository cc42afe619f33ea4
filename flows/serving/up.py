"""``jetlane up`` and ``down``: a Prefect server that stays, a work pool, the deployments (``deployments``), a worker.

The server serves its owner alone: it asks for a login that only the owner can read (``up_state``), and every client of
the server holds its port (``ports``). The login stays as long as the server or the worker runs.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from jetlane.flows.serving import private_files
from jetlane.flows.serving.api import QUIET, ask, last_lines, server_settings, wait_until_healthy
from jetlane.flows.serving.ports import HOST, answers, reserve
from jetlane.flows.serving.up_state import UpState
from jetlane.specs.errors import JetlaneError
from jetlane.specs.support.files import real
from jetlane.tasks.run.workspace import Workspace

_log = logging.getLogger(__name__)
_WORKER_SECONDS = 60
_UNDER_WAY = ("PENDING", "RUNNING", "PAUSED", "CANCELLING")


@dataclass(frozen=True)
class Up:
    """What ``up`` found or made: the API's address, the file with the login, whether an open server was replaced."""

    url: str
    login_file: Path
    replaced: bool


def up(workspace: Path, port: int) -> Up:
    """Start what does not run yet. Doing it twice changes nothing.

    Args:
        workspace: State, login, logs and the server's database are kept in its folder ``up``.

    Raises:
        WorkspaceError: The workspace cannot be written, or its folder ``up`` not closed to other users.
        JetlaneError: The server or the worker did not start; with the last lines of its log.
    """
    place = Workspace(real(Path(workspace)))
    folder = place.folder("up")
    private_files.close_to_others(folder)
    state = UpState(folder)
    with place.lock("up"):
        replaced = state.login is None and _stop_open_server(state)
        runs = state.process("server") is not None
        url = state.url if runs and state.url else f"http://{HOST}:{port}/api"
        port = urlsplit(url).port or port
        if not runs and answers(port):
            raise JetlaneError(
                f"another server answers on port {port}",
                "it was not started from this workspace",
                f"take another port (`jetlane up --port {port + 1}`), or use that server: export PREFECT_API_URL={url}",
            )
        with reserve(port) as held:
            _start_all(state, folder, url, held.fileno())
    return Up(url, state.login_file, replaced)


def _start_all(state: UpState, folder: Path, url: str, held: int) -> None:
    """Server, deployments, worker; ``held`` is the reservation of the server's port, which the worker keeps."""
    if state.process("server") is None and (state.process("worker") is None or state.login is None):
        state.renew_login()
    login = state.login or ""
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(folder)}
    environment.update(PREFECT_API_URL=url, PREFECT_API_AUTH_STRING=login)
    server = None
    if state.process("server") is None:
        port = urlsplit(url).port or 0
        # the UI's own address, whatever name it was called by; its files, where no other user can change them
        pages = {"PREFECT_SERVER_UI_API_URL": "/api", "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(folder / "ui")}
        command = [sys.executable, "-m", "jetlane.flows.serving.server_process", "lasting", str(port)]
        settings = {**environment, **pages, **server_settings(port, login)}
        server = _start(command, settings, folder, folder / "server.log")
        state.note(url, "server", server.pid)
        _log.info("started the Prefect server at %s as process %d", url, server.pid)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # This import takes seconds, in which the server starts.
    from jetlane.flows.serving.deployments import POOL, make_deployments

    if server is not None:
        wait_until_healthy(url, server, folder / "server.log")
    worker: Optional[subprocess.Popen[bytes]] = None

    def start_worker() -> None:
        nonlocal worker
        if state.process("worker") is None:
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
            # what a run says goes to the server, where its owner looks for it
            settings = {**environment, "PREFECT_LOGGING_LEVEL": "INFO"}
            worker = _start(command, settings, folder, folder / "worker.log", keep=[held])
            state.note(url, "worker", worker.pid)
            _log.info("started a worker of the pool %s as process %d", POOL, worker.pid)

    make_deployments(url, login, folder, start_worker)
    if worker is not None:
        _wait_until_online(url, login, POOL, worker, folder / "worker.log")


@dataclass(frozen=True)
class Down:
    """What ``down`` stopped: processes by name, and the flow runs of the worker as {name: seconds they had run}."""

    stopped: list[str]
    cut: dict[str, float]


def down(workspace: Path) -> Down:
    """Stop what ``up`` started, the worker first. Runs of the worker end with it; the server keeps that."""
    state = UpState(real(Path(workspace)) / "up")
    server = state.server()
    runs = _runs_of_worker(*server) if server is not None and state.process("worker") is not None else []
    stopped = ["worker"] if _stop(state, "worker") else []
    if server is not None:
        _mark_cut(runs, *server)
    stopped += ["server"] if _stop(state, "server") else []
    state.clear()
    # of a run and the runs that it started, the first is what a person started
    return Down(stopped, {run["name"]: run["estimated_run_time"] for run in runs if not run["parent_task_run_id"]})


def _runs_of_worker(url: str, login: str) -> list[dict[str, Any]]:
    """The flow runs that a worker is at, and those below them; none where the server does not say."""
    asked = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}, "sort": "START_TIME_ASC"}
    with suppress(OSError, ValueError):
        runs: list[dict[str, Any]] = ask(f"{url}/flow_runs/filter", asked, login)
        return [run for run in runs if run["deployment_id"] or run["parent_task_run_id"]]
    return []


def _mark_cut(runs: Sequence[Mapping[str, Any]], url: str, login: str) -> None:
    """Note on the server that runs have ended: their processes were killed, and could not say it."""
    state = {"type": "CRASHED", "name": "Crashed", "message": "`jetlane down` ended it"}
    for run in runs:
        with suppress(OSError, ValueError):
            ask(f"{url}/flow_runs/{run['id']}/set_state", {"state": state, "force": True}, login)


def _stop_both(state: UpState) -> list[str]:
    return [name for name in ("worker", "server") if _stop(state, name)]


def _stop_open_server(state: UpState) -> bool:
    """Stop a server and worker that run without a login, as jetlane 0.1 started them; returns whether any did.

    Raises:
        JetlaneError: Flow runs are under way on it, or may be.
    """
    if state.process("server") is not None:
        runs = _under_way(state.url or "")
        if runs != 0:
            number = "whether runs are under way is not known" if runs is None else f"runs under way: {runs}"
            raise JetlaneError(
                "the Prefect server of this workspace has no login that is known",
                f"an older jetlane started it, and every user of this machine can start runs on it; {number}",
                "let them end, or stop them: jetlane down; then: jetlane up",
            )
    return bool(_stop_both(state))


def _under_way(url: str) -> Optional[int]:
    """Flow runs under way on a server without a login; None when it does not say."""
    try:
        return int(ask(f"{url}/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": list(_UNDER_WAY)}}}}))
    except (OSError, ValueError, TypeError):
        return None


def _wait_until_online(url: str, login: str, pool: str, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server has heard of the worker.

    Raises:
        JetlaneError: It ended, or said nothing within a minute.
    """
    deadline = time.monotonic() + _WORKER_SECONDS
    while not any(known["status"] == "ONLINE" for known in ask(f"{url}/work_pools/{pool}/workers/filter", {}, login)):
        if worker.poll() is not None or time.monotonic() > deadline:
            raise JetlaneError("the Prefect worker did not start", last_lines(log), f"its log is {log}")
        time.sleep(0.2)


def _start(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, keep: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    with open(log, "ab", opener=private_files.opener) as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment},
            cwd=folder,
            start_new_session=True,
            pass_fds=keep,
        )


def _stop(state: UpState, name: str) -> bool:
    known = state.process(name)
    if known is None:
        return False
    _log.info("stopping the %s, process %d", name, known.pid)
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):  # it may end by itself between a look and a signal
        os.killpg(known.pid, signal.SIGTERM)
        while known.runs:
            if time.monotonic() > deadline:
                os.killpg(known.pid, signal.SIGKILL)
            time.sleep(0.1)
    return True
