"""What a program that runs jetlane gets: JSON, and exit codes that are documented."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click

from jetlane.flows.cli.main import EXIT_CODES, cli
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


#: Commands that print neither rows nor an outcome, and what they print.
WITHOUT_JSON = {
    **dict.fromkeys(("init", "demo", "device enroll", "up"), "what a person reads and answers, or does next"),
    **dict.fromkeys(("data show", "fleet page", "inventory import-ansible", "completion"), "a file, and its name"),
    **dict.fromkeys(("detect", "data add"), "a folder with JSON in it, and its name"),
    "tensorboard": "an address, until it is stopped",
    **dict.fromkeys(("spec check", "lineage", "fleet watch", "fleet ledger export"), "YAML, JSON, or lines of events"),
    **dict.fromkeys((f"fleet {what}" for what in ("abort", "approve", "pause", "reject", "resume")), "one line"),
    **dict.fromkeys(("fleet ledger check", "fleet ledger import", "workspace clean", "renew", "down"), "one line"),
    **dict.fromkeys((f"schedule {what}" for what in ("add", "pause", "remove", "resume", "run")), "one line"),
    **dict.fromkeys(("device cancel", "device collect-garbage", "key new", "key show"), "one line"),
    **dict.fromkeys(("virtual-device start", "virtual-device stop"), "one line"),
}


def test_what_prints_rows_or_an_outcome_has_json() -> None:
    without = set()
    for name, one in every_command().items():
        spelled = {spelling for parameter in one.params for spelling in parameter.opts}
        if "--json" not in spelled:
            without.add(name)
    assert without == set(WITHOUT_JSON)


def every_command(group: click.Group = cli, before: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in group.list_commands(click.Context(group)):
        one = group.get_command(click.Context(group), name)
        assert one is not None
        found |= every_command(one, f"{before}{name} ") if isinstance(one, click.Group) else {f"{before}{name}": one}
    return found


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
