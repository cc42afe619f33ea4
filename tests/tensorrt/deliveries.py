"""Whole deliveries over SSH to a machine with a GPU: an OpenSSH server beside it, the agent with NVIDIA's TensorRT.

``python -m tests.tensorrt.deliveries RELEASES OUT --python PYTHON``: RELEASES holds a folder for each backend with a
release that offers it alone; PYTHON has TensorRT. For each backend and precision its release is delivered again and
again, each time to a new board that has nothing but the caches of the board before, so that an engine is built; or,
with ``--kill``, one release is delivered again and again while the agent is killed (signal 9) in each phase. OUT gets a
line of JSON for each delivery.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Optional

from tests.remote import sshd as openssh

from jetlane.remote.device import client, delivery
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh.connection import OnEvent
from jetlane.specs.errors import DeviceError

PRECISIONS = ("fp32", "fp16", "int8")
#: Phases of a delivery, seconds after the beginning of each at which the agent is killed, and which of its processes.
#: Verifying takes one second, activating half of one.
KILLS = (
    ("ship", 0.02, ""),
    ("build", 8.0, "build-work"),
    ("build", 12.0, ""),
    ("verify", 0.3, ""),
    ("activate", 0.1, ""),
)
_AGREEMENT = (
    "matched",
    "missing",
    "surplus",
    "borderline",
    "lowest_iou",
    "largest_score_difference",
    "mAP@0.5",
    "latency",
)


class Log:
    """Lines of JSON, in a file and on the terminal."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()

    def add(self, **row: Any) -> None:
        with self._lock, open(self._path, "a") as file:
            file.write(json.dumps(row) + "\n")
            print(*(f"{name}={value}" for name, value in row.items() if name != "latency"), flush=True)


@contextmanager
def boards(folder: Path, python: str) -> Iterator[Device]:
    """An OpenSSH server; the device as which it is reached, with the agent's folder to be named yet."""
    server = openssh.start(folder)
    try:
        yield dataclasses.replace(load_inventory(server.inventory).device("real"), python=python)
    finally:
        server.stop()


def board_of(device: Device, folder: Path, name: str) -> Device:
    return dataclasses.replace(device, name=name, root=str(folder / name))


def deliver(
    release: Path, device: Device, precision: str, turn: int, log: Log, event: Optional[OnEvent] = None
) -> bool:
    """One delivery; whether the release is active then."""
    started = time.monotonic()
    row: dict[str, Any] = {"board": device.name, "turn": turn}
    try:
        report = delivery.deliver(release, device, on_event=event, options={"precision": precision})
    except DeviceError as error:
        seconds = round(time.monotonic() - started, 1)
        log.add(**row, state="failed", kind=error.kind, what=error.what, why=error.why[-1500:], seconds=seconds)
        return False
    agreed = {name: report.agreement.get(name) for name in _AGREEMENT}
    log.add(**row, state=report.state, backend=report.backend, notes=report.notes, phases=report.seconds, **agreed)
    return True


def deliver_often(release: Path, boards: Mapping[str, Device], builds: int, log: Log) -> None:
    """So many builds of each precision, in turn: each has some when time runs out. How fast the first of each is."""
    for turn in range(builds):
        for precision, device in boards.items():
            board = dataclasses.replace(device, root=f"{device.root}-{turn}")
            kept = Path(f"{device.root}-{turn - 1}", "caches")
            if kept.is_dir():
                shutil.copytree(kept, Path(board.root, "caches"))
            if deliver(release, board, precision, turn, log) and not turn:
                bench(board, log)


def bench(device: Device, log: Log) -> None:
    """What the live engine takes, by its parts."""
    with suppress(DeviceError), client.open_agent(device) as agent:
        log.add(board=device.name, bench=agent.call("bench", {"seconds": 3.0})["table"])


class Killer:
    """Kills the agent some time after a phase of a delivery began; once."""

    def __init__(self, root: str, phase: str, delay: float, part: str) -> None:
        self._root, self._phase, self._part = root, phase, part
        self._timer = threading.Timer(delay, self._kill)
        self.killed: list[str] = []

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "phase" and event.get("phase") == self._phase and not self._timer.ident:
            self._timer.start()

    def finish(self) -> None:
        if self._timer.ident:
            self._timer.join()

    def _kill(self) -> None:
        self.killed = kill(self._root, self._part)


def deliver_killed(release: Path, device: Device, precision: str, log: Log) -> None:
    """One release, delivered again after each kill of the agent: it goes on from where it was."""
    for phase, delay, part in KILLS:
        killer = Killer(device.root, phase, delay, part)
        ended = deliver(release, device, precision, 0, log, killer)
        killer.finish()
        log.add(board=device.name, killed_in=phase, processes=killer.killed, ended=ended)
    log.add(board=device.name, active=deliver(release, device, precision, 0, log))


def kill(root: str, part: str) -> list[str]:
    """Kill the agent's processes of one folder; ``part`` is in the command line of those that are meant."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{entry}/cmdline").read_text().split("\0")
            if "--root" in words and root in words and int(entry) != os.getpid() and (not part or part in words):
                os.kill(int(entry), signal.SIGKILL)
                found.append(" ".join(words[words.index("--root") + 2 :]).strip())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("releases", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--python", required=True)
    parser.add_argument("--builds", type=int, default=10)
    parser.add_argument("--at-once", type=int, default=1, help="backends that build side by side")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--kill", action="store_true", help="kill instead of building often")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    log = Log(asked.out / "deliveries.jsonl")
    with boards(asked.out / "sshd", asked.python) as device, ThreadPoolExecutor(asked.at_once) as pool:
        running = []
        for backend in sorted(path.name for path in asked.releases.iterdir()):
            (release,) = (asked.releases / backend).iterdir()
            named = {one: board_of(device, asked.out, f"{backend}-{one}") for one in asked.precisions}
            if asked.kill:
                running.append(pool.submit(deliver_killed, release, *next(iter(named.items()))[::-1], log))
            else:
                running.append(pool.submit(deliver_often, release, named, asked.builds, log))
        for one in running:
            one.result()


if __name__ == "__main__":
    main()
