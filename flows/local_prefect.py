"""``jetlane up`` and ``down``: a Prefect server that stays, a work pool, the deployments of prefect.yaml, a worker.

What runs is in ``<workspace>/up/state.json``; a process counts as ours only while it was started when the state says it
was, so a number that the system gave to another process since is never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from jetlane.flows.processes import Started, noted, started_at
from jetlane.flows.server import QUIET, ask, healthy, wait_until_healthy
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.workspace import Workspace, write_atomic

POOL = "jetlane"
_WORKER_SECONDS = 60


def up(workspace: Path, project: Path, port: int) -> str:
    """Start what does not run yet; returns the API's URL. Doing it twice changes nothing.

    Args:
        workspace: State, logs and the server's database are kept in its folder ``up``.
        project: Folder with prefect.yaml.

    Raises:
        WorkspaceError: The workspace cannot be written.
        JetlaneError: The server did not start, or a Prefect command failed; with its last lines.
    """
    if not (project / "prefect.yaml").is_file():
        raise JetlaneError(f"{project} has no prefect.yaml", "", "run `jetlane up` in the project's root")
    folder = Workspace(Path(workspace).resolve()).folder("up")
    state = read_state(folder)
    url = str(state.get("url") or f"http://127.0.0.1:{port}/api")
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(folder), "PREFECT_API_URL": url, "PWD": str(project)}
    if not _alive(state, "server"):
        url = f"http://127.0.0.1:{port}/api"
        environment["PREFECT_API_URL"] = url
        if healthy(url):
            raise JetlaneError(
                f"another server answers on port {port}",
                "it was not started from this workspace",
                f"take another port (`jetlane up --port {port + 1}`), or use that server: export PREFECT_API_URL={url}",
            )
        command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        server = _start(command, environment, project, folder / "server.log")
        _write_state(folder, url, {"server": server})
        wait_until_healthy(url, server, folder / "server.log")
    _make_deployments(environment, project)
    state = read_state(folder)
    if not _alive(state, "worker"):
        worker = _start(["worker", "start", "--pool", POOL], environment, folder, folder / "worker.log")
        _write_state(folder, url, {"worker": worker})
        _wait_until_online(url, worker, folder / "worker.log")
    return url


def down(workspace: Path) -> list[str]:
    """Stop what ``up`` started, the worker first; returns the names of what ran. Runs under way are ended too."""
    folder = Path(workspace).resolve() / "up"
    state = read_state(folder)
    stopped = [name for name in ("worker", "server") if _stop(state, name)]
    (folder / "state.json").unlink(missing_ok=True)
    return stopped


def read_state(folder: Path) -> dict[str, object]:
    """``url`` and ``processes`` ({name: {"pid", "since"}}); empty when nothing is known."""
    try:
        state = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _write_state(folder: Path, url: str, processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    known = read_state(folder).get("processes")
    merged = dict(known) if isinstance(known, dict) else {}
    for name, process in processes.items():
        merged[name] = asdict(Started(process.pid, started_at(process.pid) or ""))
    write_atomic(folder / "state.json", json.dumps({"url": url, "processes": merged}, indent=1))


def _make_deployments(environment: Mapping[str, str], project: Path) -> None:
    """Work pool, training limit and deployments; each command leaves what is there as it should be."""
    from jetlane.tasks.train import LIMIT

    for command in (
        ["work-pool", "create", POOL, "--type", "process", "--overwrite"],
        ["--no-prompt", "deploy", "--all"],
    ):
        _prefect(command, environment, project)
    if not _succeeds(["gcl", "inspect", LIMIT], environment, project):
        _prefect(["gcl", "create", LIMIT, "--limit", "1"], environment, project)


def _wait_until_online(url: str, worker: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the server has heard of the worker.

    Raises:
        JetlaneError: It ended, or said nothing within a minute.
    """
    deadline = time.monotonic() + _WORKER_SECONDS
    while not any(known["status"] == "ONLINE" for known in ask(f"{url}/work_pools/{POOL}/workers/filter", {})):
        if worker.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines()[-8:]
            raise JetlaneError("the Prefect worker did not start", "\n".join(lines), f"its log is {log}")
        time.sleep(0.2)


def _command(arguments: list[str]) -> list[str]:
    return [sys.executable, "-m", "prefect", *arguments]


def _start(arguments: list[str], environment: Mapping[str, str], project: Path, log: Path) -> subprocess.Popen[bytes]:
    with open(log, "ab") as file:
        return subprocess.Popen(
            _command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**environment},
            cwd=project,
            start_new_session=True,
        )


def _prefect(arguments: list[str], environment: Mapping[str, str], project: Path) -> None:
    done = subprocess.run(
        _command(arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**environment}, cwd=project
    )
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines()[-8:]
        raise JetlaneError(f"prefect {' '.join(arguments)} failed", "\n".join(lines), "see the lines above")


def _succeeds(arguments: list[str], environment: Mapping[str, str], project: Path) -> bool:
    done = subprocess.run(
        _command(arguments), stdin=subprocess.DEVNULL, capture_output=True, env={**environment}, cwd=project
    )
    return done.returncode == 0


def _alive(state: Mapping[str, object], name: str) -> bool:
    known = noted(state, name)
    return known is not None and known.runs


def _stop(state: Mapping[str, object], name: str) -> bool:
    known = noted(state, name)
    if known is None or not known.runs:
        return False
    deadline = time.monotonic() + 20
    with suppress(ProcessLookupError):  # it may end by itself between a look and a signal
        os.killpg(known.pid, signal.SIGTERM)
        while known.runs:
            if time.monotonic() > deadline:
                os.killpg(known.pid, signal.SIGKILL)
            time.sleep(0.1)
    return True
