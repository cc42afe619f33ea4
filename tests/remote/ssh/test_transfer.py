"""Uploads: going on where one stopped, and what several of them share."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.device.client import status
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.protocol.events import Need
from jetlane.remote.release.folder import read_release
from jetlane.remote.ssh import connection as ssh
from jetlane.remote.ssh import login, transfer
from jetlane.remote.ssh.transfer import Uploads
from jetlane.remote.ssh.watchdog import Watchdog
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError

MODEL = 4_000_000
#: A server that soon notices a lost connection; else the agent does, after a minute.
ALIVE = "ClientAliveInterval 1\nClientAliveCountMax 1\n"


def part_of(board: virtual.VirtualFleet, release: Path) -> Path:
    return board.devices[0].home / "jetlane" / "releases" / f"{release.name}.part" / "model.onnx.part"


def settled(path: Path) -> int:
    """A file's size once it no longer grows: what was in the pipe when the line was cut is still written."""
    size = -1
    while size != path.stat().st_size:
        size = path.stat().st_size
        time.sleep(1.0)
    return size


@pytest.mark.parametrize("damaged", [False, True])
def test_resumes_after_the_bytes_that_are_really_there(
    board: virtual.VirtualFleet, device: Device, make_release, tmp_path: Path, damaged: bool
) -> None:
    """A power cut may leave zeros in a file that is long enough; going on behind them would be for nothing."""
    release = make_release(tmp_path / "big", weight_bytes=MODEL)
    (board.folder / device.name / "fault.json").write_text('{"cut_after": 2000000}')
    with pytest.raises(DeviceError, match="the connection was lost") as caught:
        deliver(release, device)
    assert caught.value.kind == "cut"
    part = part_of(board, release)
    there = settled(part)
    assert there > 1_000_000
    if damaged:
        with open(part, "r+b") as file:
            file.seek(there - 4096)
            file.write(b"\0" * 4096)
    report = deliver(release, device)
    rest = sum(path.stat().st_size for path in release.rglob("*") if path.is_file()) - there
    assert report.state == "active"
    assert (report.bytes_sent > rest) is damaged


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Dripping:
    """An agent that lacks the model, takes no byte of it, and shows signs of life all the time."""

    def __init__(self, device: Device, watchdog: Watchdog) -> None:
        self.device, self.watchdog = device, watchdog

    def call(self, command: str, request: Any, payload: bytes, feed: Any, files: int, limit: float) -> None:
        file = json.loads(payload)["files"]["model.onnx"]
        need = {"event": "need", "files": [{**file, "path": "model.onnx", "offset": 0}]}
        with self.watchdog.stage(command, limit, ssh.SILENCE):
            feed(Need.model_validate(need), self._take)

    def _take(self, data: bytes) -> None:
        while not data.startswith(b"{"):
            self.watchdog.heard()
            self.watchdog.check()
            time.sleep(0.02)


def test_a_device_that_accepts_nothing_loses_its_turn(
    release: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large the release is: time for sending is earned by taking."""
    monkeypatch.setattr(transfer, "_AROUND", 0.5)
    monkeypatch.setattr(transfer, "SLOWEST", 100)
    uploads, began = Uploads(transfers=1), time.monotonic()
    with Watchdog(device.name) as watchdog, pytest.raises(DeviceError) as caught:
        transfer.ship(Dripping(device, watchdog), read_release(release), uploads, print)  # type: ignore[arg-type]
    assert caught.value.kind == "deadline" and time.monotonic() - began < 20
    with Watchdog(device.name) as watchdog, uploads.turn(print, watchdog):
        pass


@pytest.mark.parametrize("rate", [5_000, 2_000_000, 400_000_000])
def test_the_bandwidth_is_never_exceeded(monkeypatch: pytest.MonkeyPatch, rate: int) -> None:
    clock, sent = Clock(), []
    monkeypatch.setattr(transfer, "time", clock)
    uploads = Uploads(bandwidth=rate)
    assert uploads.piece <= max(1024, rate // 10)
    for number in range(300):
        if number == 150:
            clock.sleep(100.0)  # a pause saves nothing up
        uploads.spend(uploads.piece, clock.sleep)
        sent.append((clock.now, uploads.piece))
    for first in (0, 10, 149, 150, 200):
        for last in range(first + 1, 300):
            seconds = sent[last][0] - sent[first][0]
            assert sum(count for _, count in sent[first:last]) <= rate * seconds * 1.0001
    assert sum(count for _, count in sent[150:]) >= 0.98 * rate * (sent[-1][0] - sent[150][0])


class Watched(Uploads):
    """Counts the threads that send at one time."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.senders: dict[int, int] = {}
        self.most = self.bytes = 0

    def spend(self, count: int, pause: Callable[[float], None]) -> None:
        with self._lock:
            self.bytes += count
        super().spend(count, pause)

    def turn(self, tell: Any, watchdog: Any) -> Any:
        turn, watched, lock = super().turn(tell, watchdog), self, threading.Lock()

        class Counted:
            def __enter__(self) -> None:
                turn.__enter__()
                with lock:
                    watched.senders[threading.get_ident()] = 1
                    watched.most = max(watched.most, len(watched.senders))

            def __exit__(self, *error: Any) -> None:
                watched.senders.pop(threading.get_ident())
                turn.__exit__(*error)

        return Counted()


def test_uploads_take_turns_and_share_the_bandwidth(tmp_path: Path, make_release) -> None:
    release = make_release(tmp_path / "release", weight_bytes=3_000_000)
    fleet = virtual.start(tmp_path / "fleet", virtual.numbered(3))
    try:
        devices = load_inventory(fleet.inventory).devices
        uploads, said = Watched(transfers=2, bandwidth=3_000_000), []
        with ThreadPoolExecutor(3) as pool:
            reports = list(pool.map(lambda device: deliver(release, device, said.append, uploads=uploads), devices))
        assert [report.state for report in reports] == ["active"] * 3
        assert uploads.most == 2 and uploads.senders == {}
        assert uploads.bytes == sum(report.bytes_sent for report in reports)
        assert any(event.get("note") == "waits for other uploads to end" for event in said)
        shown = [event for event in said if event.get("step") == "ship" and "total" in event]
        assert shown and all(0 < event["done"] <= event["total"] for event in shown)
    finally:
        virtual.stop(fleet.folder)


@pytest.mark.sshd
def test_an_upload_survives_a_network_partition(
    namespaces: Any, more_sshd: Callable[..., Any], make_release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two boards in networks of their own: one is lost in the middle of its upload, the other does not notice."""
    for module in (ssh, login):
        monkeypatch.setattr(module, "SILENCE", 8.0)  # the agent shows a sign of life every 5 s
    spaces = [namespaces.add(), namespaces.add()]
    servers = [
        more_sshd(f"board-{number}", address=space.address, prefix=space.inside, port=2222, extra=ALIVE)
        for number, space in enumerate(spaces)
    ]
    lost, other = (replace(load_inventory(server.inventory).device("real"), ssh_config=False) for server in servers)
    assert lost.host != other.host and {lost.port, other.port} == {2222}
    release = make_release(tmp_path / "release", weight_bytes=MODEL)
    part = Path(lost.root) / "releases" / f"{release.name}.part" / "model.onnx.part"

    def pull_the_cable() -> None:
        while not part.is_file() or part.stat().st_size < 1_000_000:
            time.sleep(0.005)
        spaces[0].cut()

    puller = threading.Thread(target=pull_the_cable)
    puller.start()
    with pytest.raises(DeviceError) as caught:
        deliver(release, lost, uploads=Uploads(bandwidth=3_000_000))
    puller.join()
    assert caught.value.kind == "cut"
    assert deliver(release, other).state == "active"
    monkeypatch.setattr("jetlane.remote.ssh.login.CONNECT", 0.5)
    with pytest.raises(DeviceError) as gone:
        status(lost)
    assert gone.value.kind == "unreachable"

    spaces[0].heal()
    monkeypatch.undo()
    deadline = time.monotonic() + 60
    report = None
    while report is None and time.monotonic() < deadline:
        # for a moment the device still has the lock from before the cut
        with suppress(*([DeviceError] if time.monotonic() < deadline - 1 else [])):
            report = deliver(release, lost)
    assert report is not None and report.state == "active"
    total = sum(path.stat().st_size for path in release.rglob("*") if path.is_file())
    assert report.bytes_sent <= total - 1_000_000
    assert status(lost)["current"] == release.name
