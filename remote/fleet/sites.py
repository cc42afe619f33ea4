"""Devices at other sites: workers next to them carry out their part of a rollout.

It remains one rollout, with one ledger, one set of waves and one count of failures. Operations on the devices of a site
are sent in batches: each is a ``SiteJob`` that a worker of the site's pool carries out with ``run_on_device``. The job
travels with the ``Dispatch``; release and results go through the shared store.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.remote.device.client import LIMITS
from jetlane.remote.fleet import site_outcomes
from jetlane.remote.fleet.device_operations import (
    DeviceOperations,
    Reporter,
    RunningReleases,
    SshOperations,
    refuse_other_release,
)
from jetlane.specs.defaults import KEEP_RELEASES
from jetlane.specs.errors import JetlaneError
from jetlane.specs.schema import Fleet

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.folder import Release

#: Operations as they are called in jobs, and were in 0.1: workers of either version may meet jobs of the other.
STATUS, DELIVER, CHECK_HEALTH, ROLLBACK = "look", "deliver", "check", "put_back"
#: Seconds for which a job waits for more devices: starting it takes far longer.
GATHER = 1.0
#: Seconds between two heartbeats to the engine while a site works.
BEAT = 2.0


@dataclass(frozen=True)
class SiteJob:
    """One batch of work on the devices of one site. JSON values throughout.

    Attributes:
        id: Where its results are in the store: ``jobs/<id>/<device>``.
        operation: ``look``, ``deliver``, ``check`` or ``put_back``.
        release: Id of the release to deliver or to roll back to.
        digest: Hex sha256 of the manifest of the release to deliver; empty where it is not known.
        inventory: Text of the inventory; it names private keys, which are files of the site.
        known_hosts: {path from the inventory's folder: text} of the pinned host keys.
    """

    id: str
    operation: str
    release: str
    devices: tuple[str, ...]
    inventory: str
    known_hosts: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    keep_releases: int = KEEP_RELEASES
    concurrency: int = Fleet().concurrency
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "devices": list(self.devices)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SiteJob:
        """Rebuild what ``to_json`` made."""
        return cls(**{**data, "devices": tuple(data["devices"])})


def time_limit(job: SiteJob) -> float:
    """Seconds after which a job must have ended: each device has the limits of its stages."""
    stages = sum(LIMITS[stage] for stage in ("probe", "status", "receive", "build", "verify", "activate"))
    build = float(job.options.get("time_limit") or LIMITS["build"])
    return -(-len(job.devices) // job.concurrency) * (stages - LIMITS["build"] + build)


class Dispatch(Protocol):
    """Has a job carried out by a worker of a pool."""

    def run(self, pool: str, job: SiteJob, given_up: Callable[[], bool]) -> Mapping[str, Mapping[str, Any]]:
        """The outcome of each device, as returned by ``run_on_device``; devices without an outcome are left out.

        Args:
            given_up: Whether the job's outcome is not needed any more; it is then cancelled.

        Raises:
            JetlaneError: The job did not begin, or its workers were not reached; with ``kind`` where known.
        """


@dataclass
class _Request:
    name: str
    operation: str
    release: str
    outcome: Future[Mapping[str, Any]] = field(default_factory=Future)
    given_up: bool = False


class SiteOperations:
    """The ``DeviceOperations`` of a fleet with several sites.

    Args:
        local: Operations on the devices that are reached from here.
        pools: {device: pool} of the others.
        template: Options and limits of the jobs; its devices and operation are filled in.
        release: The release to deliver; not needed for the other operations.
    """

    def __init__(
        self,
        local: DeviceOperations,
        pools: Mapping[str, str],
        dispatch: Dispatch,
        template: SiteJob,
        release: Optional[Release] = None,
    ) -> None:
        self._local, self._pools, self._dispatch, self._template = local, dict(pools), dispatch, template
        self._release = release
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Request]] = {}

    def status(self, name: str, reporter: Reporter) -> RunningReleases:
        if name not in self._pools:
            return self._local.status(name, reporter)
        return site_outcomes.releases_of(self._request(name, STATUS, "", reporter), name)

    def deliver(self, name: str, reporter: Reporter) -> DeviceReport:
        if name not in self._pools:
            return self._local.deliver(name, reporter)
        assert self._release is not None
        result = self._request(name, DELIVER, self._template.release, reporter)
        precision = str(self._template.options.get("precision", "fp32"))
        return site_outcomes.report_of(result, name, self._release, precision)

    def check_health(self, name: str, reporter: Reporter) -> None:
        if name not in self._pools:
            self._local.check_health(name, reporter)
        else:
            running = site_outcomes.healthy_release_of(self._request(name, CHECK_HEALTH, "", reporter), name)
            if self._release is not None:
                refuse_other_release(name, running, self._release.id)

    def rollback(self, name: str, release: str, reporter: Reporter) -> None:
        if name not in self._pools:
            self._local.rollback(name, release, reporter)
        else:
            self._request(name, ROLLBACK, release, reporter)

    def _request(self, name: str, operation: str, release: str, reporter: Reporter) -> Mapping[str, Any]:
        """Request an operation on one device and wait for its result; an exception of ``reporter`` withdraws it."""
        pool, request = self._pools[name], _Request(name, operation, release)
        with self._lock:
            first = not self._waiting.get(pool)
            self._waiting.setdefault(pool, []).append(request)
        if first:
            threading.Thread(target=self._send, args=(pool,), name=f"jetlane-site-{pool}", daemon=True).start()
        try:
            while True:
                reporter({"event": "heartbeat", "note": f"at the site of {pool}"})
                try:
                    return site_outcomes.result_of(request.outcome.result(BEAT), name)
                except NotYet:
                    continue
        finally:
            request.given_up = True

    def _send(self, pool: str) -> None:
        """Send what has gathered for a site: one job for each operation."""
        time.sleep(GATHER)
        with self._lock:
            requests = self._waiting.pop(pool)
        jobs: dict[tuple[str, str], list[_Request]] = {}
        for request in requests:
            jobs.setdefault((request.operation, request.release), []).append(request)
        for (operation, release), batch in jobs.items():
            threading.Thread(target=self._run, args=(pool, operation, release, batch), daemon=True).start()

    def _run(self, pool: str, operation: str, release: str, batch: Sequence[_Request]) -> None:
        from dataclasses import replace
        from uuid import uuid4

        names = tuple(request.name for request in batch)
        job = replace(self._template, id=uuid4().hex, operation=operation, release=release, devices=names)
        try:
            found = self._dispatch.run(pool, job, lambda: all(request.given_up for request in batch))
        except BaseException as error:
            for request in batch:
                request.outcome.set_exception(error)
            return
        for request in batch:
            request.outcome.set_result(found.get(request.name) or _no_outcome(request.name, pool))


def _no_outcome(name: str, pool: str) -> dict[str, Any]:
    why = f"a run on the work pool {pool} ended without an outcome for it"
    remedy = "look at the run in Prefect; what was done on the device is kept"
    return {"error": {"what": f"{name}: its outcome is not known", "why": why, "remedy": remedy, "kind": "cut"}}


def inventory_payload(inventory: Path, devices: Iterable[Device]) -> tuple[str, dict[str, str]]:
    """The inventory's text, and the pinned host keys beside it: what a site needs to reach its devices.

    A ``known_hosts`` outside the inventory's folder is taken to be a file of the site.
    """
    folder, pinned = inventory.parent, {}
    for device in devices:
        for host in (device, *(device.jump or ())):
            if host.known_hosts.is_file() and folder in host.known_hosts.parents:
                # a comment may be in another encoding; keys are ASCII
                text = host.known_hosts.read_text(encoding="utf-8", errors="replace")
                pinned[host.known_hosts.relative_to(folder).as_posix()] = text
    return inventory.read_text(encoding="utf-8"), pinned


def unpack(job: SiteJob, folder: Path) -> list[Device]:
    """Write the inventory and host keys of a job into a folder, and read the job's devices from it."""
    from jetlane.remote.inventory import load_inventory

    for name, text in job.known_hosts.items():
        place = (folder / name).resolve()
        if folder.resolve() in place.parents:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    path = folder / "inventory.yaml"
    path.write_text(job.inventory, encoding="utf-8")
    inventory = load_inventory(path)
    return [inventory.device(name) for name in job.devices]


def run_on_device(job: SiteJob, device: Device, release: Optional[Release], reporter: Reporter) -> dict[str, Any]:
    """Carry out a job's operation on one device.

    Returns:
        ``{"result": {...}}``, or ``{"error": {"what", "why", "remedy", "kind"}}``.
    """
    operations = SshOperations({device.name: device}, release, job.options, keep_releases=job.keep_releases)
    try:
        return {"result": _result(operations, job, device.name, reporter)}
    except JetlaneError as error:
        parts = {"what": error.what, "why": error.why, "remedy": error.remedy}
        return {"error": {**parts, "kind": str(getattr(error, "kind", "failed"))}}


def _result(operations: SshOperations, job: SiteJob, name: str, reporter: Reporter) -> dict[str, Any]:
    if job.operation == STATUS:
        return asdict(operations.status(name, reporter))
    if job.operation == DELIVER:
        return asdict(operations.deliver(name, reporter))
    if job.operation == CHECK_HEALTH:
        return {"release": operations.healthy_release(name, reporter)}
    if job.operation == ROLLBACK:
        operations.rollback(name, job.release, reporter)
        return {}
    raise JetlaneError(
        f"{name}: the job asks for the unknown operation {job.operation!r}",
        "a later version of jetlane sent it",
        "upgrade jetlane at the site",
    )
