"""Sites: a fleet whose groups name work pools, with real workers; and the batches that travel to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.fleet import sites
from jetlane.remote.fleet.device_operations import NullReporter
from jetlane.remote.inventory import load_inventory
from jetlane.remote.release.folder import read_release
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError, SpecError
from jetlane.specs.schema import Build, Fleet
from jetlane.tasks.run.rollout import ledger_of, roll_out
from jetlane.tasks.run.workspace import Workspace

JOB = sites.SiteJob(id="", operation="", release="r-1", devices=(), inventory="")


class Pools:
    """A ``Dispatch`` that records its jobs and returns prepared outcomes."""

    def __init__(self, answers: Mapping[str, Any], seconds: float = 0.0) -> None:
        self.jobs: list[tuple[str, sites.SiteJob]] = []
        self._answers, self._seconds = answers, seconds
        self.given_up = threading.Event()

    def run(self, pool: str, job: sites.SiteJob, given_up: Any) -> Mapping[str, Any]:
        assert sites.SiteJob.from_json(json.loads(json.dumps(job.to_json()))) == job
        self.jobs.append((pool, job))
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            if given_up():
                self.given_up.set()
                break
            time.sleep(0.05)
        return {name: self._answers[name] for name in job.devices if name in self._answers}


def together(*calls: Any) -> list[Any]:
    """What calls made at once return, or raise."""
    found: list[Any] = [None] * len(calls)

    def one(number: int) -> None:
        try:
            found[number] = calls[number]()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def outcome(of: Path, device: str, **changes: Any) -> dict[str, Any]:
    """What a worker says of a delivery that went well."""
    samples = json.loads((of / "expected.json").read_text())["samples"]
    found = [{key: row[key] for key in ("file", "boxes", "labels", "scores")} for row in samples]
    own = {"backend": "cpu", "precision": "fp32", "latency": {"runs": 30}, "conditions": {}, "peak_memory": 1}
    report = {"name": device, "host": "h", "release": of.name, "state": "active", "previous": None, "backend": "cpu"}
    report.update(board={"machine": "aarch64"}, engine="0" * 20, bytes_sent=9, seconds={"ship": 0.1}, skipped=[])
    report.update(signed=None, removed=[], notes=[], agreement={**own, "matched": 7, "agreed": True}, detections=found)
    return {"result": {**report, **changes}}


def test_requests_are_batched_and_missing_outcomes_are_retried(release: Path) -> None:
    error = {"what": "b: it does not agree", "why": "", "remedy": "", "kind": "disagreement"}
    pools = Pools({"a": outcome(release, "a"), "b": {"error": error}})
    placed = {"a": "x", "b": "x", "c": "x", "d": "y"}
    boards = sites.SiteOperations(None, placed, pools, JOB, read_release(release))  # type: ignore[arg-type]
    found = together(*[lambda name=name: boards.deliver(name, NullReporter()) for name in "abcd"])  # type: ignore[misc]
    assert {(pool, frozenset(job.devices), job.release) for pool, job in pools.jobs} == {
        ("x", frozenset("abc"), "r-1"),
        ("y", frozenset("d"), "r-1"),
    }
    assert found[0].release == release.name and found[0].agreement["matched"] == 28 and found[0].detections == []
    assert [getattr(outcome, "kind", "") for outcome in found[1:]] == ["disagreement", "cut", "cut"]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"name": "b"}, "protocol"),
        ({"release": "other-" + "0" * 32}, "protocol"),
        ({"state": "sure"}, "protocol"),
        ({"bytes_sent": -1}, "protocol"),
        ({"signed": "SHA256:" + "A" * 43}, "protocol"),
        ({"board": {"machine": {"nested": 1}}}, "protocol"),
        ({"more": 1}, "protocol"),
        ({"detections": []}, "disagreement"),
        ({"detections": [{"file": "a", "boxes": [[0, 0, 1, 1]], "labels": [1 << 40], "scores": [1]}]}, "protocol"),
    ],
)
def test_outcomes_of_workers_are_validated_like_messages_of_devices(
    release: Path, changes: dict[str, Any], kind: str
) -> None:
    pools = Pools({"a": outcome(release, "a", **changes)})
    boards = sites.SiteOperations(None, {"a": "x"}, pools, JOB, read_release(release))  # type: ignore[arg-type]
    with pytest.raises(DeviceError) as caught:
        boards.deliver("a", NullReporter())
    assert caught.value.kind == kind


def test_a_device_healthy_with_another_release_fails_the_check(release: Path) -> None:
    pools = Pools({"a": {"result": {"release": release.name}}, "b": {"result": {"release": "small-" + "0" * 32}}})
    pools_of = {"a": "x", "b": "x"}
    boards = sites.SiteOperations(None, pools_of, pools, JOB, read_release(release))  # type: ignore[arg-type]
    boards.check_health("a", NullReporter())
    with pytest.raises(DeviceError, match="it is healthy, but runs small-0000"):
        boards.check_health("b", NullReporter())


def test_detections_reported_by_a_worker_are_compared_here(release: Path) -> None:
    said = outcome(release, "a")
    shifted = [{**row, "boxes": [[0.0, 0.0, 0.1, 0.1] for _ in row["boxes"]]} for row in said["result"]["detections"]]
    pools = Pools({"a": outcome(release, "a", detections=shifted)})
    boards = sites.SiteOperations(None, {"a": "x"}, pools, JOB, read_release(release))  # type: ignore[arg-type]
    with pytest.raises(DeviceError) as caught:
        boards.deliver("a", NullReporter())
    assert caught.value.kind == "disagreement"


def test_a_job_that_is_not_needed_any_more_is_given_up(release: Path) -> None:
    class Impatient(NullReporter):
        reports = 0

        def __call__(self, event: Mapping[str, Any]) -> None:
            self.reports += 1
            if self.reports == 2:
                raise DeviceError("stopped", "", "")

    pools = Pools({}, seconds=30.0)
    boards = sites.SiteOperations(None, {"a": "x"}, pools, JOB, read_release(release))  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="stopped"):
        boards.deliver("a", Impatient())
    assert pools.given_up.wait(10)


def test_host_keys_travel_and_stay_in_their_folder(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "pins").write_text("pinned\n")
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text("defaults: {known_hosts: keys/pins}\ndevices: {a: {host: h}}\n")
    from dataclasses import replace

    from jetlane.remote.inventory import load_inventory

    text, pinned = sites.inventory_payload(inventory, load_inventory(inventory).devices)
    job = replace(JOB, inventory=text, known_hosts={**pinned, "../outside": "x"}, devices=("a",))
    (tmp_path / "site").mkdir()
    (device,) = sites.unpack(job, tmp_path / "site")
    assert device.known_hosts.read_text() == "pinned\n"
    assert tmp_path / "site" in device.known_hosts.parents
    assert not (tmp_path / "outside").exists()


def test_comments_in_another_encoding_do_not_stop_host_keys_from_travelling(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("devices:\n  nano: {host: nano, known_hosts: kh}\n", encoding="utf-8")
    (tmp_path / "kh").write_bytes(b"# B\xfcro\nnano ssh-ed25519 AAAA\n")
    device = load_inventory(tmp_path / "inventory.yaml").devices[0]
    _, pinned = sites.inventory_payload(tmp_path / "inventory.yaml", [device])
    assert json.dumps(pinned).encode() and pinned["kh"].splitlines()[1] == "nano ssh-ed25519 AAAA"


# with a real Prefect server, two pools and a worker of each


class Sites:
    """One local board, two at the site ``north``, one at ``south``; each site has a worker."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.fleet = virtual.start(folder / "virtual", virtual.numbered(4))
        ports = {device.name: {"port": device.port} for device in self.fleet.devices}
        one, two, three, four = ports
        defaults = {"host": "127.0.0.1", "user": virtual.USER, "agent": False, "python": sys.executable}
        defaults.update(key=str(self.fleet.folder / "user_key"), ssh_config=False)
        groups = {
            "north": {"pool": "north", "devices": {two: ports[two], three: ports[three]}},
            "south": {"pool": "south", "devices": {four: ports[four]}},
        }
        self.inventory = folder / "inventory.yaml"
        self.inventory.write_text(json.dumps({"defaults": defaults, "devices": {one: ports[one]}, "groups": groups}))
        (folder / "known_hosts").write_text((self.fleet.folder / "known_hosts").read_text())
        self.workers = [self._worker(pool) for pool in groups]

    def _worker(self, pool: str) -> subprocess.Popen[bytes]:
        home = self.home(pool)
        home.mkdir()
        environment = {**self.environment, "HOME": str(home), "PREFECT_HOME": str(home / ".prefect")}
        words = [sys.executable, "-m", "prefect"]
        made = subprocess.run(
            [*words, "work-pool", "create", pool, "--type", "process"], env=environment, capture_output=True
        )
        assert made.returncode == 0, made.stderr
        with open(self.folder / f"{pool}.log", "wb") as log:
            return subprocess.Popen(
                [*words, "worker", "start", "--pool", pool],
                env=environment,
                stdout=log,
                stderr=log,
                cwd=home,
                start_new_session=True,
            )

    def home(self, pool: str) -> Path:
        return self.folder / f"home-{pool}"

    def runs(self, name: str) -> str:
        return os.path.basename(os.readlink(self.fleet.device(name).home / "jetlane" / "current"))

    def close(self) -> None:
        for worker in self.workers:  # asked to end, one waits half a minute for flow runs that it has not
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        virtual.stop(self.fleet.folder)


@pytest.fixture
def two_sites(tmp_path_factory: pytest.TempPathFactory, prefect_server: dict[str, str]) -> Iterator[Sites]:
    made = Sites(tmp_path_factory.mktemp("sites"), prefect_server)
    yield made
    made.close()


def run_flow(environment: Mapping[str, str], name: str, **arguments: Any) -> dict[str, Any]:
    script = Path(__file__).with_name("run_flow.py")
    words = [sys.executable, str(script), f"jetlane.flows.{name}", name, json.dumps(arguments)]
    done = subprocess.run(words, env=dict(environment), capture_output=True, text=True, timeout=300)
    line = next((line for line in done.stdout.splitlines() if line.startswith("OUTCOME ")), None)
    assert line is not None, done.stdout + done.stderr
    return json.loads(line[8:])


def roll_out_to(site: Sites, release: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """A rollout to the devices of all sites, whose store and workspace are beside the release."""
    place = release.parent
    fleet = {"inventory": str(site.inventory), "waves": [1, "100%"], "store": f"file://{place}/store"}
    return run_flow(environment, "fleet_rollout", release=str(release), fleet=fleet, workspace=str(place / "ws"))


def runs_of_sites(environment: Mapping[str, str]) -> list[dict[str, Any]]:
    body = json.dumps({"flows": {"name": {"any_": ["fleet-site"]}}}).encode()
    url = environment["PREFECT_API_URL"] + "/flow_runs/filter"
    with urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": "application/json"})) as answer:
        return list(json.load(answer))


@pytest.mark.prefect
def test_each_site_does_its_part_next_to_its_devices(
    two_sites: Sites, make_release: Any, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    """One rollout, one ledger, one set of waves; the release reaches the sites through the store alone."""
    release, before = make_release(tmp_path, seed=51), {run["id"] for run in runs_of_sites(prefect_server)}
    outcome = roll_out_to(two_sites, release, prefect_server)
    logs = "".join(path.read_text() for path in two_sites.folder.glob("*.log"))
    assert outcome.get("outcome") == "succeeded", f"{outcome}\n{logs}"
    assert {two_sites.runs(device.name) for device in two_sites.fleet.devices} == {release.name}
    for pool in ("north", "south"):
        kept = two_sites.home(pool) / ".jetlane" / "site" / release.name
        assert (kept / "manifest.json").is_file(), "the worker fetched it to its own machine"
    assert not list((tmp_path / "store" / "jobs").iterdir()), "results are taken away when they were read"
    runs = [run for run in runs_of_sites(prefect_server) if run["id"] not in before]
    assert sorted((run["work_pool_name"], run["state_type"]) for run in runs) == [
        ("north", "COMPLETED"),
        ("south", "COMPLETED"),
    ]


@pytest.mark.slow
@pytest.mark.prefect
def test_a_release_that_the_sites_have_changes_nothing_there(
    two_sites: Sites, make_release: Any, tmp_path: Path, prefect_server: dict[str, str]
) -> None:
    release = make_release(tmp_path, seed=51)
    assert set(roll_out_to(two_sites, release, prefect_server)["devices"].values()) == {"active"}
    again = roll_out_to(two_sites, release, prefect_server)
    assert set(again["devices"].values()) == {"unchanged"}


def test_work_pools_need_a_store_and_a_server(two_boards: Any, make_release: Any, tmp_path: Path) -> None:
    release, store = make_release(tmp_path, seed=52), Workspace(tmp_path / "ws")
    for given, wanted in (({}, "the fleet has no store"), ({"store": f"file://{tmp_path}"}, "no Prefect server")):
        fleet = Fleet(inventory=str(two_boards[0].inventory), **given)
        with ledger_of(fleet, store) as ledger, pytest.raises(SpecError, match=wanted):
            roll_out(release, two_boards, fleet, Build(), ledger)


@pytest.fixture
def two_boards(tmp_path: Path) -> Any:
    from jetlane.remote.inventory import load_inventory

    path = tmp_path / "inventory.yaml"
    path.write_text("groups: {north: {pool: north, devices: {a: {host: h1}, b: {host: h2}}}}\n")
    return load_inventory(path).devices
