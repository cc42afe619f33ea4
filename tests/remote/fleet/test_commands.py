"""``jetlane fleet ...`` on a ledger: what it shows, and what it asks of a rollout."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetlane.flows.cli.commands.fleet import fleet
from jetlane.flows.cli.commands.fleet.request import release_folder
from jetlane.remote.fleet.creation import Request, create_or_resume
from jetlane.remote.fleet.ledger import Ledger
from jetlane.remote.fleet.rollout import Rollout
from jetlane.specs.errors import DeviceError, ReleaseError, WorkspaceError
from jetlane.specs.schema import Fleet


@pytest.fixture
def workspace(tmp_path: Path, fakes: Any) -> Path:
    """With a rollout in which one of three devices failed, and an abandoned one."""
    clock = fakes.SteppedClock()
    ledger = Ledger(f"sqlite:///{tmp_path / 'fleet.db'}", clock.now)
    boards = {f"d{number}": fakes.Board() for number in range(3)}
    boards["d1"].faults = ["disagreement"]
    request = Request({name: name for name in boards}, "new-2", Fleet(waves=[1, "100%"], max_failures=1))
    operations = fakes.Operations(boards, "new-2", clock)
    Rollout(
        ledger, create_or_resume(ledger, request, clock.now), operations, executor=fakes.Inline(), clock=clock
    ).run()
    create_or_resume(ledger, Request({"d9": "d9"}, "next-3", Fleet()), clock.now)
    ledger.close()
    return tmp_path


def run(workspace: Path, *words: str) -> str:
    done = CliRunner().invoke(fleet, [*words, "--workspace", str(workspace)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_status_history_and_audit_show_the_ledger(workspace: Path) -> None:
    rows = json.loads(run(workspace, "status", "--json"))
    assert [(row["device"], row["runs"], row["state"]) for row in rows] == [
        ("d0", "new-2", "active"),
        ("d1", None, "failed"),
        ("d2", "new-2", "active"),
    ]
    table = list(csv.DictReader(io.StringIO(run(workspace, "history", "--csv"))))
    assert [(row["release"], row["state"], row["failed"]) for row in table] == [
        ("next-3", "running", "0"),
        ("new-2", "incomplete", "1"),
    ]
    one = run(workspace, "status", table[1]["rollout"])
    assert "d1" in one and "it does not find what the workstation found" in one
    events = json.loads(run(workspace, "audit", table[1]["rollout"], "--device", "d0", "--json"))
    assert [event["data"]["state"] for event in events] == ["shipping", "building", "verifying", "active"]
    assert "no rollout" not in run(workspace, "status")


def test_controls_act_on_the_unfinished_rollout(workspace: Path) -> None:
    assert "no further device is begun" in run(workspace, "pause")
    assert "no process works on it: run its `jetlane fleet rollout` again" in run(workspace, "resume")
    with pytest.raises(DeviceError, match="does not wait for approval"):
        run(workspace, "approve")
    run(workspace, "abort")
    with pytest.raises(DeviceError, match="no rollout is under way"):
        run(workspace, "pause")
    assert json.loads(run(workspace, "history", "--json"))[0]["state"] == "aborted"
    with pytest.raises(DeviceError, match="there is no rollout x"):
        run(workspace, "abort", "x")


def test_a_missing_ledger_is_reported(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no ledger"):
        run(tmp_path, "status")
    assert not list(tmp_path.iterdir()), "looking makes nothing"


def test_a_release_is_found_by_the_beginning_of_its_id_or_its_project(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["shapes-" + "a" * 32, "shapes-" + "b" * 32, "signs-" + "c" * 12]
    for age, name in enumerate(names):
        (tmp_path / "releases" / name).mkdir(parents=True)
        manifest = tmp_path / "releases" / name / "manifest.json"
        manifest.touch()
        os.utime(manifest, (1e9 - age, 1e9 - age))
    for name in names:
        assert release_folder(name[:12], tmp_path) == tmp_path / "releases" / name
    assert release_folder("other", tmp_path) == tmp_path / "releases" / "other"
    assert capsys.readouterr().err == ""
    assert release_folder("shapes", tmp_path).name == names[0], "the newest of the project"
    assert capsys.readouterr().err == f"the newest release of shapes: {names[0]}\n"
    with pytest.raises(ReleaseError, match="2 releases begin with shapes-"):
        release_folder("shapes-", tmp_path)
