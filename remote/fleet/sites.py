"""Devices of other sites: their part of a rollout is done by workers next to them.

The rollout stays one, with one ledger, one set of waves and one count of failures. What it wants done on the devices of
a site it hands over in batches: each is a ``SiteJob`` that a worker of the site's pool carries out with ``on_one``.
The job travels with whoever dispatches it; release and results go through the shared store.
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
from jetlane.remote.fleet import outcomes
from jetlane.remote.fleet.boards import Boards, Seen, SshBoards, Tell, refuse_another
from jetlane.specs.defaults import KEEP_RELEASES
from jetlane.specs.errors import JetlaneError

if TYPE_CHECKING:
    from jetlane.remote.device.report import DeviceReport
    from jetlane.remote.inventory import Device
    from jetlane.remote.release.folder import Release

LOOK, DELIVER, CHECK, PUT_BACK = "look", "deliver", "check", "put_back"
#: Seconds for which a job waits for more devices: starting it takes far longer.
GATHER = 1.0
#: Seconds between two signs of life to the engine while a site works.
BEAT = 2.0


@dataclass(frozen=True)
class SiteJob:
    """One batch of work on the devices of one site. JSON values throughout.

    Attributes:
        id: Where its results are in the store: ``jobs/<id>/<device>``.
        operation: ``look``, ``deliver``, ``check`` or ``put_back``.
        release: Id of the release to deliver or to put back to.
        digest: Hex sha256 of the manifest of the one to deliver; empty where nobody said.
        inventory: Text of the inventory; private keys are named in it, and are the site's own.
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
    concurrency: int = 16
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "devices": list(self.devices)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SiteJob:
        """Rebuild what ``to_json`` made."""
        return cls(**{**data, "devices": tuple(data["devices"])})


def time_limit(job: SiteJob) -> float:
    """Seconds after which a job cannot go on any more: each device has the limits of its stages."""
    stages = sum(LIMITS[stage] for stage in ("probe", "status", "receive", "build", "verify", "activate"))
    build = float(job.options.get("time_limit") or LIMITS["build"])
    return -(-len(job.devices) // job.concurrency) * (stages - LIMITS["build"] + build)


class Dispatch(Protocol):
    """Has a job carried out by a worker of a pool."""

    def run(self, pool: str, job: SiteJob, given_up: Callable[[], bool]) -> Mapping[str, Mapping[str, Any]]:
        """The outcome of each device, as ``on_one`` gives it; a device whose outcome never came is left out.

        Args:
            given_up: Whether nobody waits for the job any more; it is then cancelled.

        Raises:
            JetlaneError: The job did not begin, or its workers were not reached; with ``kind`` where known.
        """


@dataclass
class _Order:
    name: str
    operation: str
    release: str
    outcome: Future[Mapping[str, Any]] = field(default_factory=Future)
    given_up: bool = False


class SiteBoards:
    """The ``Boards`` of a fleet with several sites.

    Args:
        near: The devices that are reached from here.
        pools: {device: pool} of the others.
        inventory: The file that all of them are in.
        template: Options and limits of the jobs; its devices and operation are filled in.
        release: What is delivered; needed for that.
    """

    def __init__(
        self,
        near: Boards,
        pools: Mapping[str, str],
        dispatch: Dispatch,
        template: SiteJob,
        release: Optional[Release] = None,
    ) -> None:
        self._near, self._pools, self._dispatch, self._template = near, dict(pools), dispatch, template
        self._release = release
        self._lock = threading.Lock()
        self._waiting: dict[str, list[_Order]] = {}

    def look(self, name: str, tell: Tell) -> Seen:
        if name not in self._pools:
            return self._near.look(name, tell)
        return outcomes.looked(self._ask(name, LOOK, "", tell), name)

    def deliver(self, name: str, tell: Tell) -> DeviceReport:
        if name not in self._pools:
            return self._near.deliver(name, tell)
        assert self._release is not None
        said = self._ask(name, DELIVER, self._template.release, tell)
        return outcomes.delivered(said, name, self._release, str(self._template.options.get("precision", "fp32")))

    def check(self, name: str, tell: Tell) -> None:
        if name not in self._pools:
            self._near.check(name, tell)
        else:
            runs = outcomes.well(self._ask(name, CHECK, "", tell), name)
            if self._release is not None:
                refuse_another(name, runs, self._release.id)

    def put_back(self, name: str, release: str, tell: Tell) -> None:
        if name not in self._pools:
            self._near.put_back(name, release, tell)
        else:
            self._ask(name, PUT_BACK, release, tell)

    def _ask(self, name: str, operation: str, release: str, tell: Tell) -> Mapping[str, Any]:
        """What a site answers about one device; what ``tell`` raises gives the device up."""
        pool, order = self._pools[name], _Order(name, operation, release)
        with self._lock:
            first = not self._waiting.get(pool)
            self._waiting.setdefault(pool, []).append(order)
        if first:
            threading.Thread(target=self._send, args=(pool,), name=f"jetlane-site-{pool}", daemon=True).start()
        try:
            while True:
                tell({"event": "heartbeat", "note": f"at the site of {pool}"})
                try:
                    return outcomes.settled(order.outcome.result(BEAT), name)
                except NotYet:
                    continue
        finally:
            order.given_up = True

    def _send(self, pool: str) -> None:
        """Hand over what has gathered for a site: one job for each operation."""
        time.sleep(GATHER)
        with self._lock:
            orders = self._waiting.pop(pool)
        jobs: dict[tuple[str, str], list[_Order]] = {}
        for order in orders:
            jobs.setdefault((order.operation, order.release), []).append(order)
        for (operation, release), batch in jobs.items():
            threading.Thread(target=self._run, args=(pool, operation, release, batch), daemon=True).start()

    def _run(self, pool: str, operation: str, release: str, batch: Sequence[_Order]) -> None:
        from dataclasses import replace
        from uuid import uuid4

        names = tuple(order.name for order in batch)
        job = replace(self._template, id=uuid4().hex, operation=operation, release=release, devices=names)
        try:
            found = self._dispatch.run(pool, job, lambda: all(order.given_up for order in batch))
        except BaseException as error:
            for order in batch:
                order.outcome.set_exception(error)
            return
        for order in batch:
            order.outcome.set_result(found.get(order.name) or _unheard(order.name, pool))


def _unheard(name: str, pool: str) -> dict[str, Any]:
    why = f"a run on the work pool {pool} ended without a word about it"
    remedy = "look at the run in Prefect; what was done on the device is kept"
    return {"error": {"what": f"{name}: what became of it is not known", "why": why, "remedy": remedy, "kind": "cut"}}


def travelling(inventory: Path, devices: Iterable[Device]) -> tuple[str, dict[str, str]]:
    """The inventory's text, and the pinned host keys beside it: what a site needs to reach its devices.

    A ``known_hosts`` outside of the inventory's folder is taken to be a file of the site's own.
    """
    folder, pinned = inventory.parent, {}
    for device in devices:
        for host in (device, *(device.jump or ())):
            if host.known_hosts.is_file() and folder in host.known_hosts.parents:
                # a comment in another encoding may stand in it; a key is ASCII
                text = host.known_hosts.read_text(encoding="utf-8", errors="replace")
                pinned[host.known_hosts.relative_to(folder).as_posix()] = text
    return inventory.read_text(encoding="utf-8"), pinned


def unpack(job: SiteJob, folder: Path) -> list[Device]:
    """Lay the inventory and host keys of a job out in a folder, and read the job's devices."""
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


def on_one(job: SiteJob, device: Device, release: Optional[Path], tell: Tell) -> dict[str, Any]:
    """Do a job's work on one device.

    Returns:
        ``{"result": {...}}``, or ``{"error": {"what", "why", "remedy", "kind"}}``.
    """
    boards = SshBoards({device.name: device}, release, job.options, keep_releases=job.keep_releases)
    try:
        return {"result": _done(boards, job, device.name, tell)}
    except JetlaneError as error:
        parts = {"what": error.what, "why": error.why, "remedy": error.remedy}
        return {"error": {**parts, "kind": str(getattr(error, "kind", "failed"))}}


def _done(boards: SshBoards, job: SiteJob, name: str, tell: Tell) -> dict[str, Any]:
    if job.operation == LOOK:
        return asdict(boards.look(name, tell))
    if job.operation == DELIVER:
        return asdict(boards.deliver(name, tell))
    if job.operation == CHECK:
        return {"release": boards.well(name, tell)}
    boards.put_back(name, job.release, tell)
    return {}
