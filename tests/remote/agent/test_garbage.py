"""What a board may throw away, and what never."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.agent import engines
from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.commands import build, garbage, verify
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store
from jetlane.remote.device.client import collect_garbage, status
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import Device
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.remote.virtual import fleet as virtual


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "root"))


@pytest.fixture
def put(store: Store, release: Path) -> Callable[..., str]:
    """Put a release onto the board: with a serial, or without one as of old; ``verified`` with a made-up engine."""

    def make(serial: int | None, name: str = "small", verified: bool = True) -> str:
        manifest = json.loads((release / "manifest.json").read_text())
        manifest.pop("serial", None)
        manifest.update({"name": name}, **({} if serial is None else {"serial": serial}))
        raw = json.dumps(manifest).encode()
        identity = manifests.release_id(name, raw)
        folder = Path(store.path("releases", identity))
        shutil.copytree(release, folder)
        (folder / "manifest.json").chmod(0o600)
        (folder / "manifest.json").write_bytes(raw)
        if verified:
            key = f"engine-{identity}"
            engines.keep(store, key, b"engine", {"recipe": {"backend": "cpu", "model": "other"}})
            store.remember_verified(identity, key)
            Path(store.path("reports", identity + ".json")).write_text("{}")
        return identity

    return make


def collect(store: Store, keep: int, **more: Any) -> list[str]:
    return garbage.collect(store, {"keep": keep, **more})["releases"]


def test_the_newest_stay_by_serial(store: Store, put: Callable[..., str]) -> None:
    kept = {serial: put(serial) for serial in (7, 10, 9, 8)}  # neither their order of arrival nor their names say so
    os.utime(store.path("releases", kept[7]), (2e9, 2e9))  # nor does the clock
    assert sorted(collect(store, 2)) == sorted([kept[7], kept[8]])
    assert set(store.releases()) == {kept[9], kept[10]}
    assert set(store.engines()) == {f"engine-{kept[9]}", f"engine-{kept[10]}"}
    assert {path.stem for path in Path(store.path("reports")).iterdir()} == {kept[9], kept[10]}
    assert set(store.state()["verified"]) == {kept[9], kept[10]} == set(store.state()["history"])


def test_without_serials_the_last_verified_stay(store: Store, put: Callable[..., str]) -> None:
    first, second, third = (put(None, name) for name in ("c", "b", "a"))
    store.remember_verified(first, f"engine-{first}")
    assert collect(store, 2) == [second] and set(store.releases()) == {first, third}


def test_what_runs_and_the_way_back_always_stay(store: Store, put: Callable[..., str]) -> None:
    old, older, new, newer = put(1), put(2), put(3), put(4)
    store.point("previous", old)
    store.point("current", older)
    assert collect(store, 1) == [new] and set(store.releases()) == {old, older, newer}
    store.begin({"release": newer, "current": older, "previous": old})
    newest = put(5)
    assert collect(store, 1) == [] and set(store.releases()) == {old, older, newer, newest}


def test_what_is_being_built_or_sent_stays(store: Store, put: Callable[..., str], tmp_path: Path) -> None:
    building, sent, newest = put(1, verified=False), put(2, verified=False), put(3)
    engines.keep(store, "half", b"engine", {"recipe": {"backend": "cpu"}})
    Path(store.path("engines", "half.part")).mkdir()
    Path(store.path("releases", "small-000000000000.part")).mkdir()
    Path(store.path("releases", sent + ".part")).mkdir()
    Path(store.path("build", "job.json")).write_text(json.dumps({"id": "1", "release": building, "key": "half"}))
    with store.build_lock() as lock:
        assert lock is not None
        assert collect(store, 1, spare=sent) == []
        assert set(store.engines()) == {"half", f"engine-{newest}"}
        assert os.path.isdir(store.path("engines", "half.part"))
    assert os.listdir(store.path("releases")).count(sent + ".part") == 1
    assert not os.path.exists(store.path("releases", "small-000000000000.part"))
    assert collect(store, 1) == sorted([building, sent])
    assert not os.path.exists(store.path("engines", "half.part"))


def test_engines_of_a_forgotten_verification_stay_with_their_model(store: Store, release: Path) -> None:
    shutil.copytree(release, store.path("releases", release.name))
    request = {"release": release.name}
    key = build.build(store, request)["engine"]
    verify.verify(store, request)
    shutil.rmtree(store.path("build"))
    Path(store.path("state.json")).write_text("")
    engines.keep(store, "other", b"engine", {"recipe": {"backend": "cpu", "model": "of no release"}})
    assert garbage.collect(store, {"keep": 1})["engines"] == ["other"] and store.engines() == [key]


def test_what_is_damaged_is_not_among_the_newest(store: Store, put: Callable[..., str]) -> None:
    whole, damaged = put(1), put(2)
    Path(store.path("releases", damaged, "manifest.json")).write_bytes(b"")
    assert collect(store, 1) == [damaged] and store.releases() == [whole]


@pytest.mark.parametrize("keep", [0, -1, None, "3", True])
def test_collecting_without_a_valid_number_is_refused(store: Store, put: Callable[..., str], keep: Any) -> None:
    put(1)
    with pytest.raises(AgentError, match="how many releases"):
        garbage.collect(store, {"keep": keep})
    assert store.releases()


def test_a_power_cut_leaves_no_half_release_behind(
    store: Store, put: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = put(1), put(2)

    def cut(path: str, **_: Any) -> None:
        if old in path:
            os.unlink(os.path.join(path, "labels.txt")) if os.path.isdir(path) else None
            raise InterruptedError

    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(garbage.shutil, "rmtree", cut)
        collect(store, 1)
    collect(store, 1)
    assert os.listdir(store.path("releases")) == [new] and store.engines() == [f"engine-{new}"]


def test_a_delivery_clears_up_behind_itself(
    board: virtual.VirtualFleet, device: Device, make_release: Any, tmp_path: Path
) -> None:
    root = board.devices[0].home / "jetlane"
    releases = [make_release(tmp_path / "releases", seed=seed) for seed in range(4)]
    reports = [deliver(release, device, keep_releases=1) for release in releases[:3]]
    assert [report.removed for report in reports] == [[], [], [releases[0].name]]
    (root / "agent-000000000000.pyz").write_text("of an earlier version")
    found = status(device)
    assert set(found["releases"]) == {releases[1].name, releases[2].name} and len(found["engines"]) == 2
    assert collect_garbage(device, 1)["releases"] == []
    assert len(list(root.glob("agent-*"))) == 1, "the agent that runs, and no other"
    assert deliver(releases[2], device, keep_releases=1).state == "unchanged"


def test_a_full_disk_is_emptied_of_what_is_not_kept(
    board: virtual.VirtualFleet, device: Device, make_release: Any, tmp_path: Path
) -> None:
    root = board.devices[0].home / "jetlane"
    size = 3_000_000
    first, second, third, fourth = (
        make_release(tmp_path / "releases", seed=seed, weight_bytes=size) for seed in range(4)
    )
    for release in (first, second):
        deliver(release, device)
    third_report = deliver(third, device, keep_releases=9)
    assert third_report.removed == []
    room = 16 << 20
    used = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    (root / "config.json").write_text(json.dumps({"quota": used + room + 3 * size}))
    report = deliver(fourth, device, keep_releases=2)
    assert report.state == "active" and report.removed[0] == first.name and report.previous == third.name
    (root / "config.json").write_text(json.dumps({"quota": 1000}))
    with pytest.raises(AgentFailure, match="the board's disk is too full"):
        deliver(first, device, keep_releases=1)
    now = status(device)
    assert now["current"] == fourth.name and third.name in now["releases"], "what is kept is kept, however full it is"
