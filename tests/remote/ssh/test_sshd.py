"""The whole delivery over a real OpenSSH server."""

from __future__ import annotations

import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.device.client import status
from jetlane.remote.device.delivery import deliver, rollback
from jetlane.remote.device.fan_out import on_each
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.specs.errors import DeviceError

pytestmark = pytest.mark.sshd


@pytest.fixture
def real(sshd: Any) -> Device:
    return load_inventory(sshd.inventory).device("real")


def test_delivers_rolls_back_and_does_nothing_twice(real: Device, release: Path, make_release, tmp_path: Path) -> None:
    first = deliver(release, real)
    assert first.state == "active" and first.agreement["agreed"]
    assert deliver(release, real).state == "unchanged"
    other = make_release(tmp_path / "other", seed=1)
    assert deliver(other, real).previous == release.name
    assert rollback(real)["release"] == release.name
    root = Path(real.root)
    for path in [root, *root.rglob("*")]:
        assert path.is_symlink() or path.stat().st_mode & 0o077 == 0, f"{path} is open to others"


def test_resumes_when_the_session_is_killed_in_the_middle_of_an_upload(
    sshd: Any, real: Device, make_release, tmp_path: Path
) -> None:
    release = make_release(tmp_path / "big", weight_bytes=40_000_000)
    part = Path(real.root) / "releases" / f"{release.name}.part" / "model.onnx.part"

    def cut() -> None:
        while not part.is_file() or part.stat().st_size < 1_000_000:
            pass
        sshd.kill_sessions()

    killer = threading.Thread(target=cut)
    killer.start()
    with pytest.raises(DeviceError, match="the connection was lost"):
        deliver(release, real)
    killer.join()
    total = sum(path.stat().st_size for path in release.rglob("*") if path.is_file() and path.name != "manifest.json")
    report = deliver(release, real)
    assert report.state == "active" and report.bytes_sent <= total - 1_000_000


def test_a_switch_completes_when_the_session_is_killed_in_its_health_window(
    sshd: Any, real: Device, make_release, tmp_path: Path
) -> None:
    command = ["sh", "-c", "echo asked >> asked; test -e well"]
    health = {"command": command, "window_s": 2.0, "interval_s": 0.1}
    old = make_release(tmp_path / "old")
    new = make_release(tmp_path / "new", seed=1, activate={"health": health})
    deliver(old, real)
    root = Path(real.root)

    def cut() -> None:
        while not (root / "asked").exists():
            pass
        sshd.kill_sessions()

    for well, live in ((False, old), (True, new)):
        (root / "asked").unlink(missing_ok=True)
        if well:
            (root / "well").touch()
        killer = threading.Thread(target=cut)
        killer.start()
        with pytest.raises(DeviceError, match="the connection was lost"):
            deliver(new, real)
        killer.join()
        deadline = time.monotonic() + 30
        while status(real)["unconfirmed"] is not None and time.monotonic() < deadline:
            time.sleep(0.1)
        found = status(real)
        assert found["current"] == live.name and found["unconfirmed"] is None
    assert deliver(new, real).state == "unchanged"


def fill(root: Path) -> None:
    with open(root / "ballast", "ab", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(b"\0" * 4096)


def test_a_full_file_system_is_reported(sshd: Any, real: Device, make_release, tmp_path: Path) -> None:
    root = Path(real.root)
    root.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", root], capture_output=True).returncode:
        pytest.skip("no right to mount a small file system")
    try:
        with pytest.raises(AgentFailure, match="the board's disk is too full"):
            deliver(make_release(tmp_path / "big", weight_bytes=8_000_000), real)
        assert status(real)["releases"] == {}
        small = make_release(tmp_path / "small")
        fill(root)
        with pytest.raises(AgentFailure, match=r"the board's disk is (too )?full") as failure:
            deliver(small, real)
        assert failure.value.kind == "disk"
        for agent in root.glob("agent-*.pyz"):
            agent.unlink()
        fill(root)
        with pytest.raises(DeviceError, match=r"real: the agent cannot be placed at .*agent-") as caught:
            deliver(small, real)
        assert "disk is not full" in caught.value.remedy
    finally:
        subprocess.run(["umount", root], check=True)


def test_many_connections_install_the_agent_at_the_same_time(real: Device) -> None:
    """The first one installs it; no one reads a part of it, and no temporary file is left."""
    found = list(on_each([replace(real, name=f"caller-{number}") for number in range(6)], status))
    assert [result["current"] if isinstance(result, dict) else str(result) for _, result in found] == [None] * 6
    assert len(list(Path(real.root).glob("agent-*"))) == 1
