"""What a program that runs jetlane gets: JSON, and exit codes that are documented."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jetlane.flows.cli.main import EXIT_CODES
from jetlane.remote.fleet.state import ACTIVE, FAILED, DeviceState, Event, RolloutState
from jetlane.tasks.deploy import StepObserver
from jetlane.tasks.run.observer import LoggingRunObserver


def jetlane(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jetlane.flows.cli.main", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def test_an_error_is_one_json_object_and_said_to_people_too(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("name: bottles\ntrain: {steps: many}\n")
    done = jetlane("run", "spec.yaml", "--json", cwd=tmp_path)
    said = json.loads(done.stdout)
    assert done.returncode == said["exit_code"] == 2
    assert set(said["error"]) == {"what", "why", "remedy"}
    assert done.stderr.startswith(f"error: {said['error']['what']}")
    assert jetlane("run", "spec.yaml", "--quiet", cwd=tmp_path).stdout == ""


def test_exit_codes_stand_in_the_help_and_in_the_docs(repository: Path, tmp_path: Path) -> None:
    shown = jetlane("--help", cwd=tmp_path).stdout
    page = (repository / "docs" / "terminal.md").read_text()
    for code, meaning in EXIT_CODES.items():
        assert f"{code:<4} {meaning}" in shown and f"| {code} | {meaning} |" in page


class Told(LoggingRunObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)


def test_each_device_that_is_done_has_a_line() -> None:
    told = Told()
    observer = StepObserver(told)
    facts = {"backend": "uff", "seconds": {"ship": 2.0, "build": 201.5}}
    devices = {
        "nano-1": DeviceState("nano-1", 0, ACTIVE, final=True, changed=True, facts=facts),
        "nano-2": DeviceState("nano-2", 0, ACTIVE, final=True),
        "nano-3": DeviceState("nano-3", 0, FAILED, final=True, reason="nano-3: no room\nwhy: 4 kB are free"),
        "nano-4": DeviceState("nano-4", 0, "building"),
    }
    state = RolloutState("r", waves=[list(devices)], devices=devices, wave=0)
    for number, name in enumerate(devices):
        observer.recorded(Event(number, 0.0, "r", "device", name), state)
    assert told.lines == [
        "nano-1: active by the uff backend in 203.5 s",
        "nano-2: runs this release already",
        "nano-3: failed: no room",
    ]
