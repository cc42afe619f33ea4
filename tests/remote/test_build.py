"""The build is a job of the board's own: it outlives the connection, is attached to, explained, and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from jetlane.remote import virtual
from jetlane.remote.delivery import deliver
from jetlane.remote.device import status
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh import AgentFailure

# Held up until the test says go: in place of the minutes a real board takes.
_SLOW = """
import os, sys, time
with open("/proc/self/cmdline", "rb") as file:
    building = b"build-work" in file.read().split(bytes(1))
class Gate:
    @staticmethod
    def find_spec(name, path=None, target=None):
        while name == "onnxruntime" and not os.path.exists({go!r}):
            time.sleep(0.02)

if building:
    sys.meta_path.insert(0, Gate)
"""


class SlowBoard:
    """A virtual Jetson whose builds wait for ``go()``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.gate = folder / "go"
        venv.create(folder / "python", symlinks=True)
        site = next((folder / "python").glob("lib/python*/site-packages"))
        (site / "parent.pth").write_text(str(Path(np.__file__).parent.parent) + "\n")
        (site / "sitecustomize.py").write_text(_SLOW.format(go=str(self.gate)))
        self.fleet = virtual.start(folder / "board", python=str(folder / "python" / "bin" / "python"))
        self.device = load_inventory(self.fleet.inventory).devices[0]
        self.root = self.fleet.devices[0].home / "jetlane"

    def go(self) -> None:
        self.gate.touch()

    def worker(self) -> int:
        """Process of the running build, once there is one."""

        def pid() -> int:
            beat = json.loads((self.root / "build" / "heartbeat.json").read_text())
            assert Path(f"/proc/{beat['pid']}").exists()
            return int(beat["pid"])

        return wait_for(pid)


def wait_for(probe: Callable[[], int]) -> int:
    deadline = time.monotonic() + 30
    while True:
        try:
            return probe()
        except (OSError, ValueError, AssertionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def gone(pid: int) -> int:
    assert not Path(f"/proc/{pid}").exists()
    return pid


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowBoard]:
    board = SlowBoard(tmp_path)
    yield board
    virtual.stop(board.fleet.folder)


def deliver_elsewhere(release: Path, device: Device) -> subprocess.Popen[bytes]:
    """A delivery in a process of its own, to be killed or waited for."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from jetlane.remote.delivery import deliver\nfrom jetlane.remote.inventory import load_inventory\n"
        "report = deliver(Path(sys.argv[1]), load_inventory(Path(sys.argv[2])).devices[0])\nprint(report.state)\n"
    )
    command = [sys.executable, "-c", code, str(release), str(device.inventory)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_outlives_the_workstation_and_is_attached_to(slow: SlowBoard, release: Path) -> None:
    first = deliver_elsewhere(release, slow.device)
    worker = slow.worker()
    first.kill()
    first.communicate()
    assert status(slow.device)["building"]["release"] == release.name
    assert slow.worker() == worker, "the build goes on"
    second = deliver_elsewhere(release, slow.device)
    beats: list = []

    def seen(event: dict) -> None:
        beats.append(event)
        if event.get("event") == "heartbeat":
            slow.go()

    report = deliver(release, slow.device, seen)
    assert report.state == "active" and f"engine {report.engine} was already being built" in report.skipped
    assert any(event.get("event") == "heartbeat" and event.get("step") == "build" for event in beats)
    out, error = second.communicate(timeout=60)
    assert out.strip() in (b"active", b"unchanged"), error.decode()
    log = (slow.root / "build" / "log.txt").read_text()
    assert log.count("optimising the graph") == 1, "one build, whoever asked for it"


@pytest.mark.sshd
def test_outlives_a_killed_sshd_session(sshd, release: Path, tmp_path: Path) -> None:
    slow = SlowBoard(tmp_path / "slow")
    try:
        text = sshd.inventory.read_text().replace(sys.executable, slow.device.python)
        sshd.inventory.write_text(text)
        device = load_inventory(sshd.inventory).devices[0]
        slow.root = Path(device.root)
        first = deliver_elsewhere(release, device)
        slow.worker()
        sshd.kill_sessions()
        assert first.wait(timeout=60) != 0 and b"the connection was lost" in first.communicate()[1]
        report = deliver(release, device, lambda event: slow.go() if event.get("event") == "heartbeat" else None)
        assert report.state == "active" and f"engine {report.engine} was already being built" in report.skipped
    finally:
        slow.go()
        virtual.stop(slow.fleet.folder)


def test_says_that_memory_ran_out_when_the_kernel_kills_it(slow: SlowBoard, release: Path) -> None:
    other = deliver_elsewhere(release, slow.device)
    worker = slow.worker()

    def modest() -> int:
        assert Path(f"/proc/{worker}/oom_score_adj").read_text().strip() == "1000"
        return worker

    wait_for(modest)
    os.kill(worker, signal.SIGKILL)
    assert b"the build was killed: the board ran out of memory" in other.communicate(timeout=60)[1]
    assert status(slow.device)["current"] is None
    slow.go()
    assert deliver(release, slow.device).state == "active"


def test_begins_again_when_everything_of_it_was_killed(slow: SlowBoard, release: Path) -> None:
    def kill() -> int:
        worker = slow.worker()
        supervisor = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: gone(worker))
        return worker

    other = deliver_elsewhere(release, slow.device)
    first = kill()
    second = slow.worker()
    assert second != first, "the attached delivery starts it anew, once"
    kill()
    assert b"the build was cut off 2 times" in other.communicate(timeout=60)[1]
    slow.go()
    assert deliver(release, slow.device).state == "active"


def test_a_model_that_cannot_be_built_says_why(
    device: Device, board: virtual.VirtualFleet, make_release, tmp_path: Path, models
) -> None:
    release = make_release(tmp_path / "broken", model=b"not an ONNX file")
    with pytest.raises(AgentFailure, match=r"onnxruntime [\d.]+ cannot load the model") as caught:
        deliver(release, device)
    assert caught.value.kind == "build"
    with pytest.raises(AgentFailure, match="cannot load the model"):
        deliver(release, device)


def test_what_the_board_cannot_do_is_refused_before_anything_is_sent(
    device: Device, board: virtual.VirtualFleet, release: Path
) -> None:
    with pytest.raises(AgentFailure, match="fp16 cannot be built on this board by the cpu road") as caught:
        deliver(release, device, options={"precision": "fp16"})
    assert caught.value.kind == "road" and "fp32" in caught.value.remedy
    assert not list((board.devices[0].home / "jetlane" / "releases").iterdir())
