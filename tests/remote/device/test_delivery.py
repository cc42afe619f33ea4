"""A whole delivery over SSH to a virtual Jetson, and what happens when it goes wrong."""

from __future__ import annotations

import json
import random
import shutil
import threading
from pathlib import Path

import pytest

from jetlane.remote.agent.manifest import short
from jetlane.remote.device.client import bench, status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError, ReleaseError

NAME = "virtual-jetson"


def agent_root(board: virtual.VirtualFleet) -> Path:
    return board.device(NAME).home / "jetlane"


def test_delivers_verifies_and_activates_then_finds_nothing_to_do(
    board: virtual.VirtualFleet, device: Device, release: Path
) -> None:
    events: list = []
    report = deliver(release, device, events.append)
    assert (report.state, report.backend, report.skipped) == ("active", "cpu", [])
    sent = sum(path.stat().st_size for path in release.rglob("*") if path.is_file() and path.name != "manifest.json")
    assert report.bytes_sent == sent
    assert report.agreement["agreed"] and report.agreement["matched"] > 10
    assert report.agreement["latency"]["engine_median_ms"] > 0
    expected = json.loads((release / "expected.json").read_text())["samples"]
    assert [row["file"] for row in report.detections] == [row["file"] for row in expected]
    assert [row["labels"] for row in report.detections] == [row["labels"] for row in expected]
    assert [event["phase"] for event in events if event["event"] == "phase"] == [
        "probe", "ship", "build", "verify", "activate",
    ]  # fmt: skip
    assert (agent_root(board) / "current").resolve().name == release.name

    events.clear()
    again = deliver(release, device, events.append)
    assert (again.state, again.bytes_sent, again.seconds) == ("unchanged", 0, {})
    assert again.skipped == [f"{release.name} is already active and verified: nothing to do"]
    assert again.detections == report.detections and again.agreement == report.agreement
    assert [event["phase"] for event in events if event["event"] == "phase"] == ["probe"]


def test_a_second_release_sends_only_what_is_new_and_rolls_back(
    board: virtual.VirtualFleet, device: Device, release: Path, make_release, tmp_path: Path
) -> None:
    deliver(release, device)
    other = make_release(tmp_path, seed=1)
    report = deliver(other, device)
    assert report.previous == release.name
    assert report.bytes_sent < sum(path.stat().st_size for path in (other / "samples").iterdir())
    assert any("files were on the board" in line for line in report.skipped)
    assert rollback(device) == {"release": release.name, "previous": other.name}
    assert status(device)["current"] == release.name
    assert rollback(device) == {"release": other.name, "previous": release.name}
    again = deliver(release, device)
    assert again.bytes_sent == 0 and again.skipped[0] == "the board had every file already"
    assert any("was built before" in line for line in again.skipped)


def test_releases_with_short_ids_of_0_1_are_delivered_and_rolled_back_to(
    board: virtual.VirtualFleet, device: Device, release: Path, make_release, tmp_path: Path
) -> None:
    old = tmp_path / short(release.name)
    assert len(old.name) < len(release.name)
    shutil.copytree(release, old)
    assert deliver(old, device).state == "active" and deliver(old, device).state == "unchanged"
    new = make_release(tmp_path / "new", seed=1)
    assert deliver(new, device).previous == old.name
    (agent_root(board) / "engines" / status(device)["verified"][old.name] / "engine").write_bytes(b"")
    assert rollback(device) == {"release": old.name, "previous": new.name}, "it was built and verified again"
    assert status(device)["releases"] == {old.name: None, new.name: None}


def test_rolls_back_to_a_release_by_the_beginning_of_its_id(
    device: Device, release: Path, make_release, tmp_path: Path
) -> None:
    other = make_release(tmp_path, seed=1)
    deliver(release, device)
    deliver(other, device)
    assert rollback(device, release=short(release.name))["release"] == release.name
    assert bench(device, 0.05, release=short(other.name))["release"] == other.name
    with pytest.raises(AgentFailure, match="2 releases begin with small-"):
        rollback(device, release="small-")
    with pytest.raises(DeviceError, match="other-000000000000 is not on the board"):
        rollback(device, release="other-000000000000")
    assert status(device)["current"] == release.name


def test_a_rollback_without_a_previous_release_is_refused(device: Device, release: Path) -> None:
    deliver(release, device)
    with pytest.raises(DeviceError, match="no previous release on this board"):
        rollback(device)


def test_resumes_a_cut_upload_where_it_stopped(
    board: virtual.VirtualFleet, device: Device, make_release, tmp_path: Path
) -> None:
    release = make_release(tmp_path / "big", weight_bytes=3_000_000)
    total = sum(path.stat().st_size for path in release.rglob("*") if path.is_file() and path.name != "manifest.json")
    (board.folder / NAME / "fault.json").write_text('{"cut_after": 2000000}')
    with pytest.raises(DeviceError, match="the connection was lost"):
        deliver(release, device)
    assert not (agent_root(board) / "current").exists()
    report = deliver(release, device)
    assert report.state == "active"
    manifest_and_headers = 40_000
    assert total - 2_000_000 <= report.bytes_sent <= total - 2_000_000 + manifest_and_headers


def test_an_upload_corrupted_on_the_way_is_refused(
    board: virtual.VirtualFleet, device: Device, make_release, tmp_path: Path, release: Path
) -> None:
    deliver(release, device)
    bigger = make_release(tmp_path / "big", seed=2, weight_bytes=300_000)
    (board.folder / NAME / "fault.json").write_text('{"corrupt_at": 200000}')
    with pytest.raises(AgentFailure, match=r"virtual-jetson: .* arrived altered") as caught:
        deliver(bigger, device)
    assert caught.value.kind == "corrupt" and "run again" in caught.value.remedy
    assert status(device)["current"] == release.name
    assert deliver(bigger, device).state == "active"


def test_a_full_disk_is_reported_before_anything_is_sent(
    board: virtual.VirtualFleet, device: Device, make_release, tmp_path: Path, release: Path
) -> None:
    deliver(release, device)
    (agent_root(board) / "config.json").write_text('{"quota": 30000000}')
    bigger = make_release(tmp_path / "big", seed=2, weight_bytes=8_000_000)
    with pytest.raises(AgentFailure, match="the board's disk is too full") as caught:
        deliver(bigger, device)
    assert caught.value.kind == "disk" and "free some space" in caught.value.remedy
    now = status(device)
    assert now["current"] == release.name and list(now["releases"]) == [release.name]


def test_an_engine_with_other_detections_is_not_activated(
    board: virtual.VirtualFleet, device: Device, make_release, tmp_path: Path, release: Path
) -> None:
    deliver(release, device)
    wrong = make_release(tmp_path / "wrong", seed=3, wrong=0.02)
    with pytest.raises(AgentFailure, match="does not find on this board what the workstation found") as caught:
        deliver(wrong, device)
    assert caught.value.kind == "disagreement" and "samples/000.npy" in caught.value.why
    now = status(device)
    assert now["current"] == release.name and wrong.name not in now["verified"]


def test_an_engine_that_takes_too_long_is_verified_and_not_activated(
    device: Device, make_release, tmp_path: Path, release: Path
) -> None:
    deliver(release, device, options={"max_latency_ms": 60_000.0})
    other = make_release(tmp_path / "other", seed=3)
    with pytest.raises(AgentFailure, match=r"the engine takes .* ms an image") as caught:
        deliver(other, device, options={"max_latency_ms": {"nano-*": 0.0001, NAME.upper(): 0.0002}})
    assert caught.value.kind == "slow" and "gate.max_latency_ms allows 0.0002" in caught.value.why
    now = status(device)
    assert now["current"] == release.name and other.name in now["verified"]
    assert deliver(other, device, options={"max_latency_ms": {"nano-*": 0.0001}}).state == "active"


def test_a_tampered_release_is_not_sent(device: Device, make_release, tmp_path: Path) -> None:
    release = make_release(tmp_path)
    model = release / "model.onnx"
    content = bytearray(model.read_bytes())
    content[100] ^= 1
    model.chmod(0o644)
    model.write_bytes(content)
    with pytest.raises(ReleaseError, match=r"was altered: model\.onnx changed"):
        deliver(release, device)


def test_files_damaged_on_the_device_are_sent_again(board: virtual.VirtualFleet, device: Device, release: Path) -> None:
    """A power cut leaves files empty: release, engine, state and the agent itself."""
    deliver(release, device)
    root = agent_root(board)
    damaged = [root / "releases" / release.name / "labels.txt", root / "state.json"]
    damaged += [next(root.glob("engines/*/engine")), next(root.glob("agent-*.pyz"))]
    for path in damaged:
        path.chmod(0o600)
        path.write_bytes(b"")
    report = deliver(release, device)
    assert report.state == "active" and report.bytes_sent == (release / "labels.txt").stat().st_size
    assert deliver(release, device).state == "unchanged"
    agent = next(root.glob("agent-*.pyz"))
    agent.write_bytes(b"\0" * agent.stat().st_size)
    assert deliver(release, device).state == "unchanged"


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 21))])
def test_a_power_cut_at_any_moment_leaves_a_board_that_recovers(
    seed: int, board: virtual.VirtualFleet, device: Device, release: Path, make_release, tmp_path: Path
) -> None:
    """The board loses its power during a delivery: a whole release stays live, and the next delivery goes through."""
    deliver(release, device)
    other = make_release(tmp_path / "other", seed=1, weight_bytes=2_000_000)
    moment = random.Random(seed).uniform(0.0, 2.0)
    timer = threading.Timer(moment, virtual.stop, (board.folder, True))
    timer.start()
    try:
        ended = deliver(other, device).release
    except DeviceError:
        ended = ""
    timer.join()
    virtual.start(board.folder)
    now = status(device)
    assert now["current"] in ({ended} if ended else {release.name, other.name})
    assert now["releases"][now["current"]] is None
    report = deliver(other, device)
    assert report.agreement["agreed"] and status(device)["current"] == other.name


def test_a_board_without_a_runtime_is_refused_before_any_transfer(
    tmp_path: Path, release: Path, repository: Path
) -> None:
    bare = tmp_path / "python"
    bare.write_text('#!/bin/sh\nexec /usr/bin/env python3 -I -S "$@"\n')
    bare.chmod(0o755)
    fleet = virtual.start(tmp_path / "board", python=str(bare))
    try:
        device = load_inventory(fleet.inventory).device(NAME)
        with pytest.raises(AgentFailure, match="no backend fits: this board can run nothing") as caught:
            deliver(release, device)
        assert caught.value.kind == "backend" and "has no numpy" in caught.value.why
        assert not list((fleet.device(NAME).home / "jetlane" / "releases").iterdir())
    finally:
        virtual.stop(fleet.folder)


@pytest.mark.parametrize("damage", ["a score", "the backend"])
def test_an_invalid_report_is_made_again(
    board: virtual.VirtualFleet, device: Device, release: Path, damage: str
) -> None:
    """A flipped bit on the device's card is no attack, but its result must not be trusted."""
    deliver(release, device)
    path = agent_root(board) / "reports" / f"{release.name}.json"
    report = json.loads(path.read_text())
    if damage == "a score":
        report["samples"][0]["scores"][0] = 9.9
    else:
        report["backend"] = "uff"
    path.write_text(json.dumps(report))
    assert deliver(release, device).state == "active"
    assert deliver(release, device).state == "unchanged"
