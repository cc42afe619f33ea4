"""What a shell completes: commands, and names of devices, releases, rollouts and schedules."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jetlane.flows.serving.schedules import RetrainSchedule, ScheduleBook
from jetlane.remote.fleet.ledger import Ledger


@pytest.fixture
def project(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    for release in ("bottles-0123456789ab", "bottles-ba9876543210"):
        (work / "releases" / release).mkdir(parents=True)
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano-1: {host: 10.0.0.1}\n  orin-1: {host: 10.0.0.2}\n")
    (tmp_path / "spec.yaml").write_text(
        "name: bottles\ndataset: {shapes: {}}\nfleet: {inventory: inventory.yaml}\nworkspace: work\n"
    )
    book = Ledger(f"sqlite:///{work / 'fleet.db'}")
    book.append("20260101-000000-aaaa", "started", operation="rollout")
    book.close()
    ScheduleBook(work / "up").put(RetrainSchedule("nightly", str(tmp_path / "spec.yaml"), cron="0 3 * * *"))
    return tmp_path


def completed(folder: Path, line: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    asked = {"_JETLANE_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "jetlane"],
        cwd=folder,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == "", done.stderr
    return [row.partition(",")[2] for row in done.stdout.splitlines() if row]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("jetlane fleet st", ["status"]),
        ("jetlane device status n", ["nano-1"]),
        ("jetlane rollback --spec spec.yaml --device ", ["nano-1", "orin-1"]),
        ("jetlane fleet rollout --spec spec.yaml bottles-0", ["bottles-0123456789ab"]),
        ("jetlane device rollback --workspace work --to bottles-b", ["bottles-ba9876543210"]),
        ("jetlane fleet watch --spec spec.yaml 2", ["20260101-000000-aaaa"]),
        ("jetlane schedule pause --spec spec.yaml ", ["nightly"]),
        ("jetlane renew --workspace work ", ["bottles"]),
        ("jetlane renew --workspace nowhere ", []),
    ],
)
def test_names_are_completed(project: Path, line: str, offered: list[str]) -> None:
    assert completed(project, line) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_printed(shell: str) -> None:
    done = subprocess.run([sys.executable, "-m", "jetlane", "completion", shell], capture_output=True, timeout=60)
    assert done.returncode == 0 and f"_JETLANE_COMPLETE={shell}_complete".encode() in done.stdout
    program = shutil.which(shell)
    if program is not None:
        assert subprocess.run([program, "-n"], input=done.stdout, timeout=60).returncode == 0
