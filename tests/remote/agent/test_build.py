"""The build is a job of the board's own: it outlives the connection, is attached to, explained, and begun again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from jetlane.remote.agent.commands import build
from jetlane.remote.agent.commands.status import status as agent_status
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.store import Store
from jetlane.remote.device.client import cancel, status
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh.connection import AgentFailure
from jetlane.remote.virtual import fleet as virtual

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
        "from jetlane.remote.device.delivery import deliver\nfrom jetlane.remote.inventory import load_inventory\n"
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
    building = [event for event in beats if event.get("event") == "heartbeat" and event.get("step") == "build"]
    assert building and all(event["seconds"] is None or event["seconds"] >= 0 for event in building)
    out, error = second.communicate(timeout=60)
    assert out.strip() in (b"active", b"unchanged"), error.decode()
    logs = [slow.root / "build" / "log.txt", *(slow.root / "logs").glob("*-build.txt")]
    builds = sum(path.read_text().count("optimising the graph") for path in logs)
    assert builds == 1, "one build for all that asked for it"


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
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(os.PRIO_PROCESS, os.getpid())
        return worker

    wait_for(modest)
    held = [os.readlink(entry) for entry in Path(f"/proc/{worker}/fd").iterdir()]
    assert not any(path.endswith("lock") for path in held), "the lock goes with the supervisor, not with its child"
    os.kill(worker, signal.SIGKILL)
    assert b"the build was killed: the board ran out of memory" in other.communicate(timeout=60)[1]
    assert status(slow.device)["current"] is None
    slow.go()
    assert deliver(release, slow.device).state == "active"


def test_a_model_that_is_altered_while_the_build_begins_leaves_no_engine(slow: SlowBoard, release: Path) -> None:
    other = deliver_elsewhere(release, slow.device)
    slow.worker()
    model = slow.root / "releases" / release.name / "model.onnx"
    whole = model.read_bytes()
    model.chmod(0o600)
    model.write_bytes(whole.replace(b"NMS_1", b"NMS_2"))
    slow.go()
    assert b"model.onnx of the release was altered" in other.communicate(timeout=60)[1]
    assert not list((slow.root / "engines").iterdir())
    assert deliver(release, slow.device).state == "active" and model.read_bytes() == whole


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


# Commands around a build


class Kept:
    """An agent's folder with one release, for builds without a connection."""

    def __init__(self, root: Path, release: Path, **commands: list) -> None:
        self.store = Store(str(root))
        self.request = {"release": release.name}
        self.root = root
        shutil.copytree(release, root / "releases" / release.name)
        self.config(**commands)

    def config(self, **commands: list) -> None:
        (self.root / "config.json").write_text(json.dumps({"build": commands}))

    def build(self) -> dict:
        return build.build(self.store, self.request)

    def trace(self) -> list[str]:
        return (self.root / "trace").read_text().split()


def traced(word: str) -> list[str]:
    return ["sh", "-c", 'echo "$0" >> trace', word]


def test_commands_run_around_a_build_and_not_around_a_cached_engine(release: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "root", release, before=[traced("before"), traced("too")], after=[traced("after")])
    assert not kept.build()["cached"] and kept.build()["cached"]
    assert kept.trace() == ["before", "too", "after"] and not (kept.root / "build" / "owed.json").exists()


def test_a_releases_own_commands_come_with_its_manifest(make_release, tmp_path: Path) -> None:
    release = make_release(tmp_path, around_build={"before": [traced("$JETLANE_RELEASE")], "after": [traced("after")]})
    kept = Kept(tmp_path / "root", release, after=[["sh", "-c", "echo $JETLANE_RELEASE >> trace"]])
    kept.build()
    assert kept.trace() == ["$JETLANE_RELEASE", release.name], "the owner's word replaces one key and leaves the other"


def test_the_commands_for_afterwards_run_when_the_build_failed(make_release, tmp_path: Path) -> None:
    release = make_release(tmp_path, model=b"not an ONNX file")
    kept = Kept(tmp_path / "root", release, before=[traced("before")], after=[traced("after")])
    with pytest.raises(AgentError, match="cannot load the model"):
        kept.build()
    assert kept.trace() == ["before", "after"]


def test_a_command_before_the_build_that_fails_prevents_it(release: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "root", release, before=[["sh", "-c", "echo no; exit 1"]], after=[traced("after")])
    with pytest.raises(AgentError, match="the command before the build failed") as caught:
        kept.build()
    assert caught.value.kind == "command" and "it printed: no" in caught.value.why
    assert kept.trace() == ["after"] and not list((kept.root / "engines").iterdir())


def test_a_failing_command_after_the_build_stays_pending_and_is_reported(release: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path / "root", release, after=[["sh", "-c", "test -e ready && echo after >> trace"]])
    for _ in range(2):
        with pytest.raises(AgentError, match="the command after the build") as caught:
            kept.build()
        assert caught.value.kind == "command"
    (kept.root / "ready").touch()
    assert kept.build()["cached"] and kept.trace() == ["after"], "the engine was kept all the while"


def test_logs_of_earlier_builds_are_kept(make_release, tmp_path: Path) -> None:
    roots = tmp_path / "root"
    for seed in range(3):
        release = make_release(tmp_path, seed=seed)
        kept = Kept(roots, release)
        kept.build()
    assert [path.name for path in sorted((roots / "logs").iterdir())] == ["000001-build.txt", "000002-build.txt"]
    assert all("optimising the graph" in path.read_text() for path in (roots / "logs").iterdir())
    for _ in range(20):
        Path(kept.store.new_log("activate")).touch()
    names = sorted(path.name for path in (roots / "logs").iterdir())
    assert names[:2] == ["000001-build.txt", "000002-build.txt"], "no other log takes their place"
    assert [int(name[:6]) for name in names[2:]] == list(range(13, 23))


def test_cancelled_in_a_command_before_the_build(release: Path, tmp_path: Path) -> None:
    hang = ["sh", "-c", "echo began >> trace; sleep 300"]
    kept = Kept(tmp_path / "root", release, before=[hang, traced("never")], after=[traced("after")])

    def began() -> int:
        assert kept.trace() == ["began"]
        return 0

    with ThreadPoolExecutor(1) as pool:
        built = pool.submit(kept.build)
        wait_for(began)
        assert agent_status(kept.store, {})["building"]["release"] == release.name
        assert build.cancel(kept.store, {})["cancelled"]
        failure = built.exception()
    assert isinstance(failure, AgentError) and failure.kind == "cancelled"
    assert kept.trace() == ["began", "after"]
    assert build.cancel(kept.store, {}) == {"cancelled": False, "release": None, "engine": None}
    kept.config()
    assert not kept.build()["cached"]


def test_cancelled_while_it_builds(slow: SlowBoard, release: Path) -> None:
    slow.root.mkdir(parents=True)
    (slow.root / "config.json").write_text(json.dumps({"build": {"after": [traced("after")]}}))
    other = deliver_elsewhere(release, slow.device)
    worker = slow.worker()
    done = cancel(slow.device)
    assert done["cancelled"] and done["release"] == release.name
    assert not Path(f"/proc/{worker}").exists() and (slow.root / "trace").read_text() == "after\n"
    assert b"the build was cancelled" in other.communicate(timeout=60)[1]
    assert status(slow.device)["building"] is None
    slow.go()
    assert deliver(release, slow.device).state == "active"


def test_commands_pending_when_everything_was_killed_run_with_the_next_command(slow: SlowBoard, release: Path) -> None:
    slow.root.mkdir(parents=True)
    (slow.root / "config.json").write_text(json.dumps({"build": {"after": [traced("after")]}}))
    other = deliver_elsewhere(release, slow.device)
    worker = slow.worker()
    other.kill()
    other.communicate()
    supervisor = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    attached = [pid for pid in pids_of(slow) if pid not in (worker, supervisor)]
    for pid in [*attached, supervisor, worker]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: gone(worker))
    assert status(slow.device)["building"] is None and not (slow.root / "trace").exists()
    assert not cancel(slow.device)["cancelled"]
    assert (slow.root / "trace").read_text() == "after\n"


def pids_of(board: SlowBoard) -> list[int]:
    """Processes of the agent on a board."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if str(board.root.name).encode() in words and any(word.endswith(b".pyz") for word in words):
                inside = Path(os.readlink(entry / "cwd")) == board.root.parent
                found += [int(entry.name)] if inside else []
    return found


def test_a_model_that_cannot_be_built_says_why(
    device: Device, board: virtual.VirtualFleet, make_release, tmp_path: Path
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
    with pytest.raises(AgentFailure, match="fp16 cannot be built on this board by the cpu backend") as caught:
        deliver(release, device, options={"precision": "fp16"})
    assert caught.value.kind == "backend" and "fp32" in caught.value.remedy
    assert not list((board.devices[0].home / "jetlane" / "releases").iterdir())
