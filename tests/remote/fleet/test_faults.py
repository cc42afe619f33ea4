"""What may go wrong during a rollout, on virtual Jetsons over real SSH with the real agent."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.remote.fleet.relay import Relay
from tests.remote.fleet.site import At, Site, count_events

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.release.agent_file import agent_file
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError

FIVE = virtual.numbered(5)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Five boards; each test brings releases of its own to them."""
    made = Site(tmp_path_factory.mktemp("site"), 5, Relay)
    yield made
    made.close()


@pytest.fixture
def book(site: Any, tmp_path: Path) -> Iterator[Any]:
    with site.ledger(tmp_path) as ledger:
        yield ledger


def states_of(book: Any, rolled: Any, device: str) -> list[tuple[str, str]]:
    """(state, kind) of every event of a device."""
    events = book.events(rolled.rollout, device)
    return [(event.data.get("state", event.kind), event.data.get("kind", "")) for event in events]


def states(rolled: Any) -> list[str]:
    return [device.state for device in rolled.devices]


def test_a_connection_lost_at_any_stage_is_retried(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    """Five boards, each cut once at another stage: all end active, and no engine is built twice."""
    release = make_release(tmp_path, seed=11)
    before = {name: site.builds(name) for name in FIVE}
    stages = dict(zip(FIVE, ("probe", "ship", "build", "verify", "activate")))
    cut = At(stages, lambda name: site.relays[name].cut())
    rolled = site.roll_out(release, book, observer=cut)
    assert rolled.outcome == "succeeded", "\n".join(device.reason for device in rolled.devices)
    for name, stage in stages.items():
        assert site.runs(name) == release.name and site.whole(name)
        assert site.builds(name) == before[name] + 1, f"{name}: built again after a cut at {stage}"
        if stage != "probe":  # there the first connection is still being made
            assert ("unreachable", "cut") in states_of(book, rolled, name), stage


class CountingSha256:
    """``hashlib.sha256``, and how many bytes went through it in this process."""

    made, total = hashlib.sha256, 0

    def __init__(self, data: bytes = b"", **options: Any) -> None:
        self._hash = CountingSha256.made(data, **options)
        CountingSha256.total += len(data)

    def update(self, data: bytes) -> None:
        self._hash.update(data)
        CountingSha256.total += len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hash, name)


def test_each_file_is_hashed_once_however_many_devices(
    site: Any, book: Any, make_release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = make_release(tmp_path, seed=24, weight_bytes=1_000_000)
    files = [path for path in release.rglob("*") if path.is_file() and not path.name.startswith("manifest.")]
    hashed: Counter[str] = Counter()
    hash_file = manifests.sha256_file

    def counted(place: str, **options: Any) -> str:
        hashed[place] += 1
        return hash_file(place, **options)

    agent_file()  # hashed once in a process
    monkeypatch.setattr(manifests, "sha256_file", counted)
    monkeypatch.setattr(hashlib, "sha256", CountingSha256)
    CountingSha256.total = 0
    rolled = site.roll_out(release, book)
    assert rolled.outcome == "succeeded" and len(rolled.devices) == 5
    assert hashed == {str(path): 1 for path in files}
    size = sum(path.stat().st_size for path in files)
    assert size <= CountingSha256.total < 1.1 * size + 100_000, "manifests and fingerprints besides"


def test_a_file_changed_during_the_rollout_is_not_sent(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    release = make_release(tmp_path, seed=25, weight_bytes=100_000)
    model = release / "model.onnx"

    def change(device: str) -> None:
        model.chmod(0o644)
        model.write_bytes(bytes(model.stat().st_size))

    rolled = site.roll_out(release, book, FIVE[:2], observer=At({FIVE[0]: "build"}, change), waves=[1, "100%"])
    assert states(rolled) == ["active", "failed"] and "model.onnx changed" in rolled.devices[1].reason
    assert site.runs(FIVE[1]) != release.name


def test_an_interrupted_upload_resumes(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    release = make_release(tmp_path, seed=12, weight_bytes=3_000_000)
    (site.fleet.folder / FIVE[0] / "fault.json").write_text('{"cut_after": 2000000}')
    rolled = site.roll_out(release, book, FIVE[:1], soak=1)
    assert rolled.outcome == "succeeded", rolled.devices[0].reason
    assert book.events(rolled.rollout, FIVE[0])[-1].data["soaked"], "its health was looked at a second time"
    assert rolled.devices[0].bytes_sent < 1_500_000
    assert ("unreachable", "cut") in states_of(book, rolled, FIVE[0])


def test_devices_offline_longer_than_the_window_fail_and_others_succeed(
    site: Any, book: Any, make_release: Any, tmp_path: Path
) -> None:
    release = make_release(tmp_path, seed=13)
    site.relays[FIVE[1]].off()
    site.relays[FIVE[2]].off()
    before = site.runs(FIVE[2])
    timer = threading.Timer(2.0, site.relays[FIVE[1]].on)
    timer.start()
    try:
        rolled = site.roll_out(release, book, FIVE[:3], offline_window=6, max_failures=1)
    finally:
        timer.join()
        site.relays[FIVE[2]].on()
    assert states(rolled) == ["active", "active", "failed"] and rolled.outcome == "incomplete"
    assert rolled.devices[2].reason.startswith("unreachable:") and site.runs(FIVE[2]) == before
    retried = site.roll_out(release, book, retry_failed=True)
    assert [device.name for device in retried.devices] == [FIVE[2]] and states(retried) == ["active"]


def test_a_device_with_a_full_disk_fails(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    release = make_release(tmp_path, seed=14)
    site.roll_out(make_release(tmp_path / "first", seed=15), book, FIVE[:2])
    before = site.runs(FIVE[0])
    config = site.root(FIVE[0]) / "config.json"
    config.write_text('{"quota": 1000}')
    rolled = site.roll_out(release, book, FIVE[:2], max_failures=1)
    config.unlink()
    assert states(rolled) == ["failed", "active"] and "free some space" in rolled.devices[0].reason
    assert states_of(book, rolled, FIVE[0])[-1] == ("failed", "disk") and site.runs(FIVE[0]) == before
    assert states(site.roll_out(release, book, FIVE[:2], retry_failed=True)) == ["active"]


def test_devices_with_other_detections_fail(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    """One of five is tolerated at 20%; with two the rollout stops and its wave is rolled back."""
    first, second, third = (make_release(tmp_path / str(seed), seed=seed) for seed in (16, 17, 18))
    assert site.roll_out(first, book).outcome == "succeeded"
    (site.home(FIVE[2]) / "squints").touch()
    rolled = site.roll_out(second, book, max_failures="20%")
    assert rolled.outcome == "incomplete" and states(rolled).count("active") == 4
    assert states_of(book, rolled, FIVE[2])[-1] == ("failed", "disagreement")
    runs = {name: site.runs(name) for name in FIVE}
    assert runs == {**dict.fromkeys(FIVE, second.name), FIVE[2]: first.name}
    (site.home(FIVE[4]) / "squints").touch()
    try:
        rolled = site.roll_out(third, book, max_failures="20%", on_failure="rollback_wave")
    finally:
        for name in (FIVE[2], FIVE[4]):
            (site.home(name) / "squints").unlink()
    assert rolled.outcome == "stopped" and "more than 20%" in rolled.reason
    assert {name: site.runs(name) for name in FIVE} == runs and all(site.whole(name) for name in FIVE)
    assert {entry["device"]: entry["runs"] for entry in fleet_rows(book)} == runs, "the ledger agrees"


def fleet_rows(book: Any) -> list[dict[str, Any]]:
    from jetlane.remote.fleet.views import fleet

    return fleet(book)


def test_a_wrong_host_key_fails_only_its_device(site: Any, book: Any, make_release: Any, tmp_path: Path) -> None:
    release = make_release(tmp_path, seed=19)
    pins = site.folder / "known_hosts"
    right = pins.read_text()
    lines = right.splitlines()
    lines[1] = " ".join([lines[1].split()[0], *lines[3].split()[1:]])  # another board's key
    pins.write_text("\n".join(lines) + "\n")
    began = time.monotonic()
    try:
        rolled = site.roll_out(release, book, max_failures=1)
    finally:
        pins.write_text(right)
    assert states(rolled).count("active") == 4 and rolled.devices[1].state == "failed"
    assert "host key" in rolled.devices[1].reason
    assert states_of(book, rolled, FIVE[1]) == [("failed", "host_key")], "it is not tried again"
    assert time.monotonic() - began < 30 + 25, "the window is not waited for"


def test_two_orchestrators_never_work_on_one_device(site: Any, make_release: Any, tmp_path: Path) -> None:
    """With one ledger the second is refused; with two, the boards take one after the other."""
    one, other = make_release(tmp_path / "1", seed=20), make_release(tmp_path / "2", seed=21)
    refused: list[DeviceError] = []
    with site.ledger(tmp_path) as book, site.ledger(tmp_path) as same:

        def second(name: str) -> None:
            with pytest.raises(DeviceError, match="under way on these devices") as caught:
                site.roll_out(other, same, FIVE[:2])
            refused.append(caught.value)

        rolled = site.roll_out(one, book, FIVE[:3], observer=At({FIVE[0]: "build"}, second))
    assert rolled.outcome == "succeeded" and len(refused) == 1
    assert [site.runs(name) for name in FIVE[:3]] == [one.name] * 3

    outcomes: dict[str, Any] = {}

    def run(release: Path, folder: Path) -> None:
        folder.mkdir()
        with site.ledger(folder) as ledger:
            outcomes[release.name] = site.roll_out(release, ledger, FIVE[:1], offline_window=60).outcome

    third = make_release(tmp_path / "3", seed=22)
    threads = [
        threading.Thread(target=run, args=(release, tmp_path / f"of-{release.name}")) for release in (other, third)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "succeeded" in outcomes.values() and len(outcomes) == 2
    assert site.runs(FIVE[0]) in outcomes and site.whole(FIVE[0])


def test_a_rollout_finishes_after_a_reboot_during_the_build(tmp_path: Path, make_release: Any) -> None:
    """Server, agent and build are killed; the board comes back, and the same rollout finishes."""
    release = make_release(tmp_path, seed=23)
    site = Site(tmp_path / "site", 1, Relay)
    job = site.root(FIVE[0]) / "build" / "job.json"
    done = threading.Event()

    def reboot() -> None:
        while not job.exists() and not done.is_set():
            time.sleep(0.005)
        virtual.stop(site.fleet.folder, power_cut=True)
        time.sleep(1.0)
        virtual.start(site.fleet.folder, site.names, python=site._python)

    power = threading.Thread(target=reboot)
    power.start()
    try:
        with site.ledger(tmp_path) as book:
            rolled = site.roll_out(release, book, offline_window=60)
            done.set()
            assert rolled.outcome == "succeeded", rolled.devices[0].reason
            assert site.whole(FIVE[0]) and site.runs(FIVE[0]) == release.name
            assert any(state == "unreachable" for state, _ in states_of(book, rolled, FIVE[0]))
            assert site.builds(FIVE[0]) <= 2
    finally:
        done.set()
        power.join()
        site.close()


def test_secrets_stay_out_of_ledger_and_output(
    site: Any, book: Any, make_release: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """A board's words with a token in them, a password in an address, a variable that is called a secret."""
    from jetlane.flows.cli.lines import RolloutLines

    planted = {"hunter2-hunter2", "s3cr3t-in-url", "AbCdEf0123456789", "from-the-environment"}
    monkeypatch.setenv("DEPLOY_API_TOKEN", "from-the-environment")
    greeter = site.home(FIVE[3]) / "greeter"
    greeter.write_text(
        "#!/bin/sh\necho 'password=hunter2-hunter2 postgresql://me:s3cr3t-in-url@db/x"
        " Authorization: Bearer AbCdEf0123456789 from-the-environment' >&2\nexit 3\n"
    )
    greeter.chmod(0o755)
    try:
        rolled = site.roll_out(make_release(tmp_path, seed=24), book, FIVE[3:4], observer=RolloutLines())
    finally:
        greeter.unlink()
    book.close()
    text = b"".join(path.read_bytes() for path in tmp_path.glob("fleet.db*")).decode("latin-1")
    captured = capfd.readouterr()
    shown = f"{text} {rolled} {captured.out} {captured.err}"
    assert rolled.devices[0].state == "failed" and "[hidden]" in shown and "ended with exit code 3" in shown
    assert not [secret for secret in planted if secret in shown]
    key = (site.fleet.folder / "user_key").read_text().splitlines()[1]
    assert key not in shown


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Twenty boards in one process."""
    made = Site(tmp_path_factory.mktemp("twenty"), 20, Relay)
    yield made
    made.close()


@pytest.mark.parametrize("kills", [3, pytest.param(25, marks=pytest.mark.slow)])
def test_a_rollout_survives_repeated_kills_of_the_orchestrator(
    kills: int, twenty: Any, make_release: Any, tmp_path: Path
) -> None:
    """Twenty devices, the orchestrator ended by -9 at random: one rollout, no engine built twice, all agree."""
    release = make_release(tmp_path, seed=100 + kills)
    before = {name: twenty.builds(name) for name in twenty.names}
    command = [sys.executable, "-m", "jetlane", "fleet", "rollout", str(release), "--to", str(twenty.inventory)]
    command += ["--workspace", str(tmp_path / "ws"), "--waves", "1,5%,100%", "--concurrency", "8"]
    chance = random.Random(kills)
    for _ in range(kills):
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # by how far it has come, not by the clock: a quick machine is no way to escape
        goal = count_events(tmp_path / "ws" / "fleet.db") + chance.randint(1, 75 // kills)
        while run.poll() is None and count_events(tmp_path / "ws" / "fleet.db") < goal:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.1))
        assert run.poll() is None, run.communicate()[0]
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    last = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert last.returncode == 0, last.stdout + last.stderr
    with twenty.ledger(tmp_path / "ws") as book:
        ids = book.rollouts()
        first = book.state(ids[-1])
        assert first.outcome == "succeeded" and len(first.devices) == 20
        assert len([event for event in book.events(first.id) if event.kind == "ended"]) == 1
        assert len([event for event in book.events(first.id) if event.kind == "attached"]) >= kills
        rows = {row["device"]: row["runs"] for row in fleet_rows(book)}
    for name in twenty.names:
        assert twenty.runs(name) == rows[name] == release.name and twenty.whole(name)
        assert twenty.builds(name) == before[name] + 1, f"{name} built more than once"
