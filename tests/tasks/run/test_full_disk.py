"""A workspace that fills at any write, is read-only, or holds something else where a file of ours should be.

Each ends in words, nothing half-written is taken for whole, and the next run goes on once there is room.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import paramiko
import pytest
from tests import small_disk

from jetlane.remote.agent.trust.keys import FILES
from jetlane.remote.device import probe_records
from jetlane.remote.inventory import load_inventory
from jetlane.remote.release.signing import new_key, project_key
from jetlane.remote.ssh import host_keys
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import JetlaneError, WorkspaceError
from jetlane.specs.support.local_files import read_json
from jetlane.tasks.data.records import read_records, write_records
from jetlane.tasks.gate import read_live, remember_measured
from jetlane.tasks.proof.baseline import Measured
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.serials import Serials
from jetlane.tasks.run.workspace import Workspace

WORTH = Measured("model", 0.5, "data", ("car",))
KEY = paramiko.ECDSAKey.generate()


def step(root: Path) -> Any:
    def write(out: Path) -> dict[str, int]:
        (out / "folder").mkdir()
        write_records(out / "folder" / "records", [b"x" * 3000] * 5)
        return {"count": 5}

    made = Workspace(root).step("step", inputs={}, params={}, code=("jetlane.specs.errors",), make=write)
    return [len(list(read_records(made.file("folder/records")))), made.facts, sorted(made.outputs)]


def serial(root: Path) -> Any:
    return Serials(Workspace(root), "cats").of("a") > 1_700_000_000


def renewal(root: Path) -> Any:
    serials = Serials(Workspace(root), "cats")
    serials.renew()
    return serials.renewals > 0


def probe(root: Path) -> Any:
    probe_records.record(root / probe_records.NAME, {"nano": {"model": "x" * 3000}})
    return probe_records.recorded(root / probe_records.NAME)["nano"]


def key(root: Path) -> Any:
    return len(project_key(root).public)


def another_key(root: Path) -> Any:
    before, now = new_key(root)
    shown = (root / "keys" / "signing_key.pub").read_text().split()[1]
    assert before is None or before.public != now.public
    return project_key(root).public == now.public and len(shown)


def pin(root: Path) -> Any:
    (device,) = load_inventory(root / "inventory.yaml").devices
    host_keys.pin(device, KEY)
    return len(host_keys.pinned(device).keys)


def live(root: Path) -> Any:
    workspace = Workspace(root)
    remember_measured(workspace, "cats-0", WORTH)
    remember_live(workspace, "cats-0")
    found = read_live(workspace, "cats")
    return found is not None and asdict(found)


def boards(root: Path) -> Any:
    virtual._make_boards(root / "virtual", ["one"], b"\x01" * 32)
    return [read_json(root / "virtual" / "one" / "home" / "jetlane" / name)["keys"] for name in FILES]


OPERATIONS = [step, serial, renewal, probe, key, another_key, pin, live, boards]


def prepared(folder: Path) -> Path:
    root = folder / "workspace"
    root.mkdir()
    (root / "inventory.yaml").write_text("devices:\n  nano: {host: nano, ssh_config: false}\n")
    return root


def explained(error: JetlaneError, root: Path) -> bool:
    return "No space left on device" in error.why and str(root) in str(error) and "Traceback" not in str(error)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_every_write_in_turn_fails_in_words_and_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: Callable[[Path], Any]
) -> None:
    (tmp_path / "whole").mkdir()
    expected = operation(prepared(tmp_path / "whole"))
    (tmp_path / "full").mkdir()
    writer = small_disk.FailingWriter(tmp_path / "full", monkeypatch)
    failures = 0
    for call in range(1, 200):
        folder = tmp_path / "full" / str(call)
        writer.start(0)
        folder.mkdir()
        root = prepared(folder)
        writer.start(call)
        try:
            operation(root)
        except JetlaneError as error:
            failures += 1
            assert explained(error, root), error
        reached = writer.reached
        writer.start(0)
        assert operation(root) == expected, f"after a failure of write {call}"
        assert not [path for path in root.rglob("*.tmp") if path.name != "x"], f"after a failure of write {call}"
        if not reached:
            break
    assert failures >= 3 and call < 199


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_a_disk_that_fills_at_any_point_is_told_in_words(tmp_path: Path, operation: Callable[[Path], Any]) -> None:
    (tmp_path / "whole").mkdir()
    expected = operation(prepared(tmp_path / "whole"))
    with small_disk.mounted(tmp_path / "disk", "400k") as disk:
        failures = 0
        for leave in range(0, 20 * 4096, 4096):
            folder = disk / "a"
            folder.mkdir()
            root = prepared(folder)
            small_disk.fill(disk, leave)
            try:
                operation(root)
            except JetlaneError as error:
                failures += 1
                assert explained(error, root), error
            small_disk.make_room(disk)
            assert operation(root) == expected, f"after {leave} bytes were left"
            subprocess.run(["rm", "-rf", folder], check=True)
        assert failures


def test_virtual_jetsons_come_up_or_say_why_not(tmp_path: Path) -> None:
    with small_disk.mounted(tmp_path / "disk", "400k") as disk:
        failures = 0
        for leave in (0, 8192, 5 * 4096):
            folder = disk / str(leave)
            folder.mkdir()
            small_disk.fill(disk, leave)
            try:
                fleet = virtual.start(folder, ["one"], key=b"\x01" * 32)
            except JetlaneError as error:
                failures += 1
                assert "free of" in error.why and str(folder) in str(error), error
            finally:
                virtual.stop(folder)
            small_disk.make_room(disk)
            try:
                fleet = virtual.start(folder, ["one"], key=b"\x01" * 32)
                assert len(load_inventory(fleet.inventory).devices) == 1
            finally:
                virtual.stop(folder)
        assert failures


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o is not boards], ids=lambda o: o.__name__)
def test_a_read_only_workspace_is_told_in_words(tmp_path: Path, operation: Callable[[Path], Any]) -> None:
    with small_disk.mounted(tmp_path / "disk", "400k") as disk:
        root = prepared(disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(WorkspaceError, match="cannot be written") as caught:
            operation(root)
        assert "Read-only file system" in caught.value.why and "make it writable" in caught.value.remedy
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        operation(root)


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\0" * 512,
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"a": ' * 5_000,
    b'{"given": 3}',
    b"7",
]
DAMAGED = {
    "serials/cats.json": serial,
    "probes.json": probe,
    "live/cats.json": live,
    "measured/cats-0.json": live,
    "virtual/server.json": lambda root: virtual.find(root / "virtual"),
    "step": step,
}


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("content", GARBAGE, ids=range(len(GARBAGE)))
def test_a_damaged_file_is_made_again(tmp_path: Path, name: str, content: bytes) -> None:
    root, operation = prepared(tmp_path), DAMAGED[name]
    (root / "virtual").mkdir()
    expected = operation(root)
    for path in root.glob("steps/step/*/manifest.json") if name == "step" else [root / name]:
        path.write_bytes(content)
        assert operation(root) == expected
        if name in ("live/cats.json", "measured/cats-0.json"):
            path.write_bytes(content)
            known = read_live(Workspace(root), "cats")
            assert known is not None and known.measured.map50 is None, "it is not taken for a first run"


@pytest.mark.parametrize("where", ["steps", "steps/step", "locks", "serials", "keys", "live", "measured", "virtual"])
def test_a_file_where_a_folder_should_be_is_told_in_words(tmp_path: Path, where: str) -> None:
    root = prepared(tmp_path)
    operations = {"serials": serial, "keys": key, "live": live, "measured": live, "virtual": start_boards}
    place = root / where
    place.parent.mkdir(exist_ok=True)
    place.write_text("mine")
    with pytest.raises(WorkspaceError, match="cannot be written") as caught:
        operations.get(where, step)(root)
    assert str(place) in str(caught.value) and "something else has the name" in caught.value.remedy
    assert place.read_text() == "mine"
    place.unlink()


def start_boards(root: Path) -> None:
    virtual.start(root / "virtual", ["one"])


def test_whatever_lies_in_place_of_a_steps_folder_is_replaced(tmp_path: Path) -> None:
    root = prepared(tmp_path)
    expected = step(root)
    (folder,) = (root / "steps" / "step").iterdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    for suffix in ("", ".part"):
        place = folder.with_name(folder.name + suffix)
        for make in (lambda path: path.write_text("x"), lambda path: path.symlink_to(elsewhere), os.mkfifo):
            subprocess.run(["rm", "-rf", folder, place], check=True)
            make(place)
            assert step(root) == expected and not folder.is_symlink()
    assert (elsewhere / "mine").read_text() == "mine"


def test_folders_of_the_workspace_are_for_their_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "made" / "workspace"
    step(root), serial(root), key(root), live(root), probe(root)
    modes = {path.relative_to(root).as_posix(): path.stat().st_mode & 0o777 for path in root.rglob("*")}
    folders = {name for name in modes if (root / name).is_dir()}
    assert root.stat().st_mode & 0o777 == 0o700 and {modes[name] for name in folders} == {0o700}
    private = ("manifest.json", "verified.json", "cats.json", "cats-0.json", "probes.json", "signing_key")
    assert {modes[name] for name in modes if name.endswith(private)} == {0o600}


def test_folders_that_an_earlier_version_left_open_are_closed(tmp_path: Path) -> None:
    root = prepared(tmp_path)
    (root / "steps" / "step").mkdir(parents=True)
    step(root)
    assert {(root / name).stat().st_mode & 0o777 for name in ("steps", "steps/step", "locks")} == {0o700}
    assert root.stat().st_mode & 0o777 == 0o755, "a folder that was there is its owner's business"
