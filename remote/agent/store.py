"""The agent's folder on the board: what is where, who may change it, and what is true after a power cut.

::

    <root>/releases/<id>/      whole once it has no ``.part`` in its name
    <root>/engines/<key>/      engine, engine.json; trial.json while it is tried, doubt.json when it is not used again
    <root>/aside/<key>/        an engine that is not used again, until garbage is collected
    <root>/reports/<id>.json   what the last verification saw
    <root>/build/              the running or last build: job, heartbeat, outcome, log; commands still pending
    <root>/logs/               logs of earlier builds, and of activations
    <root>/current previous    symlinks to releases
    <root>/switch.json         the switch under way, until the new release has shown itself healthy
    <root>/state.json          which release was verified with which engine; current and previous, to restore them
    <root>/config.json         the board owner's: {"quota": bytes, "activate": {...}, "build": {...}}
    <root>/keys.json           whose releases are taken (and keys.copy.json); serials.json: how new they must be
    <root>/lock build.lock     flock

No file holds a time: a board's clock may stand in 1970 and jump. Within a process durations come from the monotonic
clock; processes tell each other durations (``heartbeat.json``) and orders (serials, ``history``, numbers of logs), and
what is over they learn from a lock that is free.
"""

import os
from contextlib import contextmanager
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional

from . import device_config, old_names
from . import manifest as manifests
from .disk_usage import free_bytes, new_log, used_bytes
from .errors import AgentError
from .locks import taken
from .safe_files import (
    discard,
    is_folder,
    make_folder,
    point,
    read_json,
    read_object,
    remove,
    sync_folder,
    write_json,
)
from .state_file import ENGINE_KEY, LINKS, is_release_or_none, read_state
from .strict_json import is_number
from .trust import admission as trust
from .trust import keys

#: What a report says of each sample.
_SHOWN = {"file", "boxes", "labels", "scores"}


class Store(object):
    """The agent's root folder; made when missing, private to its user.

    Raises:
        AgentError: It cannot be made or written.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            for folder in ("releases", "engines", "aside", "reports", "build", "logs", "caches"):
                make_folder(self.path(folder))
        except OSError as error:
            raise AgentError(
                "the folder %s cannot be made on the board" % self.root, str(error), "set `root` in the inventory"
            )

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    # releases

    def release(self, release: str) -> str:
        """Folder of a release the board has.

        Raises:
            AgentError: It has no such release; kind ``absent``.
        """
        manifests.check_id(release)
        folder = self.path("releases", release)
        if not is_folder(folder):
            raise AgentError("release %s is not on the board" % release, "", "deliver it first", "absent")
        return folder

    def manifest(self, release: str) -> Dict[str, Any]:
        """The manifest of a release the board has, checked against the release's id and signed by a key of the board.

        Raises:
            AgentError: It is not; kinds ``absent``, ``tampered`` or ``signature``.
        """
        folder = self.release(release)
        raw = manifests.raw_of(folder, release)
        trust.check(self.root, release, raw, trust.signature_in(folder))
        return manifests.parse(raw, release)

    def manifests(self) -> Iterator[Dict[str, Any]]:
        """The manifests of all releases the board has and takes."""
        for release in self.releases():
            try:
                yield self.manifest(release)
            except AgentError:
                continue

    def signed_by(self, release: str) -> Optional[str]:
        """Fingerprint of the board's key that signed a release; None where no key of the board did."""
        try:
            folder = self.release(release)
            public = trust.check(self.root, release, manifests.raw_of(folder, release), trust.signature_in(folder))
        except AgentError:
            return None
        return None if public is None else keys.fingerprint(public)

    def releases(self) -> List[str]:
        return self._whole("releases", manifests.is_id)

    def engines(self) -> List[str]:
        return self._whole("engines", lambda name: ENGINE_KEY.match(name) and not name.endswith(".part"))

    def _whole(self, folder: str, is_ours: Callable[[str], Any]) -> List[str]:
        return sorted(
            name for name in os.listdir(self.path(folder)) if is_ours(name) and is_folder(self.path(folder, name))
        )

    # current and previous

    def pointed(self, link: str) -> Optional[str]:
        """The release that ``current`` or ``previous`` names, if it is there."""
        try:
            folder, name = os.path.split(os.readlink(self.path(link)))
        except OSError:
            return None
        return name if folder == "releases" and is_folder(self.path("releases", name)) else None

    def point(self, link: str, release: str) -> None:
        point(self.path(link), os.path.join("releases", release))

    def forget(self, link: str) -> None:
        discard(self.path(link))
        sync_folder(self.root)

    def switch_in_progress(self) -> Optional[Dict[str, Any]]:
        """The switch that is not finished yet, see activate.py; None when all is settled.

        One that a power cut made unreadable is put together from ``current`` and from what the state remembers.
        """
        path = self.path("switch.json")
        if not os.path.lexists(path):
            return None
        switch = read_object(path)
        if manifests.is_id(switch.get("release")) and all(is_release_or_none(switch.get(link)) for link in LINKS):
            return switch
        state, current, previous = self.state(), self.pointed("current"), self.pointed("previous")
        if current == state["current"]:  # nothing had been switched yet
            return {"release": "", "current": current, "previous": state["previous"]}
        before = state["current"] or (previous if previous != current else None)
        return {"release": current, "current": before, "previous": state["previous"]}

    def rollback_target(self) -> Optional[str]:
        """The release that a rollback without a name goes to."""
        switch = self.switch_in_progress()
        if switch is None:
            previous = self.pointed("previous")
            return previous if previous != self.pointed("current") else None
        return switch.get("current" if self.pointed("current") == switch["release"] else "previous")

    def begin(self, switch: Dict[str, Any]) -> None:
        """Note a switch before anything of it is done."""
        write_json(self.path("switch.json"), switch)

    def finish_switch(self) -> None:
        """A switch has come to its end."""
        self.remember_links()
        if os.path.lexists(self.path("switch.json")):
            remove(self.path("switch.json"))
            sync_folder(self.root)

    # state

    def state(self) -> Dict[str, Any]:
        """What the agent remembers, see ``state_file``."""
        return read_state(self.path("state.json"))

    def write_state(self, state: Dict[str, Any]) -> None:
        write_json(self.path("state.json"), state)

    def verified_engine(self, release: str) -> Optional[str]:
        """Key of the engine with which a release was last verified; see ``engines.verified``."""
        engine: Optional[str] = self.state()["verified"].get(release)
        return engine

    def verified_digest(self, release: str) -> Optional[str]:
        """The sha256 of that engine; None where 0.1 verified it, which did not note it."""
        digest: Optional[str] = self.state()["digests"].get(release)
        return digest

    def in_use(self) -> List[str]:
        """Releases that run, may be gone back to, or take part in a switch."""
        switch = self.switch_in_progress() or {}
        names = [self.pointed(link) for link in LINKS]
        names += [switch.get(name) for name in ("release", *LINKS)]
        return sorted({name for name in names if name})

    def remember_verified(self, release: str, engine: Optional[str], digest: Optional[str] = None) -> None:
        state = self.state()
        state["verified"].pop(release, None)
        state["digests"].pop(release, None)
        if engine is not None:
            state["verified"][release] = engine
            state["history"] = [name for name in state["history"] if name != release] + [release]
        if digest is not None:
            state["digests"][release] = digest
        self.write_state(state)

    def remember_links(self) -> None:
        """Note what ``current`` and ``previous`` are, so that a lost one can be made again."""
        state = self.state()
        now = {link: self.pointed(link) for link in LINKS}
        if any(state[link] != now[link] for link in LINKS):
            self.write_state(dict(state, **now))

    def report(self, release: str) -> Optional[Dict[str, Any]]:
        """What the last verification of a release saw; None where that is not known, or damaged."""
        report = read_json(self.path("reports", release + ".json"))
        rows = report.get("samples") if isinstance(report, dict) else None
        sound = isinstance(rows, list) and all(isinstance(row, dict) and set(row) >= _SHOWN for row in rows)
        return old_names.report(report) if sound and isinstance(report, dict) else None

    # the owner's settings

    def config(self) -> Dict[str, Any]:
        """What the board's owner wrote into config.json; nothing where there is none.

        Raises:
            AgentError: It cannot be understood; kind ``config``.
        """
        return device_config.read(self.path("config.json"))

    # logs and space

    def new_log(self, about: str) -> str:
        """Path of a new file in ``logs``, numbered; the oldest of its kind are removed."""
        return new_log(self.path("logs"), about)

    def free_bytes(self) -> int:
        """Bytes the agent may still write: what the disk has, or what the owner's quota leaves."""
        try:
            quota = self.config().get("quota")
        except AgentError:  # it is reported where the commands in it are needed
            quota = None
        return free_bytes(self.root, quota)

    def used_bytes(self) -> int:
        return used_bytes(self.root)

    # locks

    @contextmanager
    def lock(self, wait: float = 3.0) -> Iterator[None]:
        """Be the only one that changes this board. What a power cut has damaged is repaired first.

        Raises:
            AgentError: Another command has been changing it for ``wait`` seconds; kind ``busy``.
        """
        with taken(self.path("lock"), wait) as lock:
            if lock is None:
                raise AgentError(
                    "another delivery is at work on this board",
                    "only one at a time may change it",
                    "wait for it to end, then run again",
                    "busy",
                )
            self._repair()
            yield

    def repair(self) -> None:
        """Repair what a power cut has damaged, unless another command is running, or the disk is full."""
        try:
            with self.lock(wait=0.0):
                pass
        except (AgentError, OSError):
            pass

    def build_lock(self) -> ContextManager[Optional[int]]:
        """The build lock's descriptor, or None while a build holds it."""
        return taken(self.path("build.lock"))

    def building(self) -> Optional[Dict[str, Any]]:
        """The build that runs: ``id``, ``release``, ``engine``, ``seconds``, ``note``; None when none does."""
        with self.build_lock() as lock:
            if lock is not None:
                return None
        job = read_object(self.path("build", "job.json"))
        if job.get("id") is not None and read_object(self.path("build", "outcome.json")).get("id") == job["id"]:
            return None  # it has ended, and another process looked at the lock in the same moment
        beat = read_object(self.path("build", "heartbeat.json"))
        found = {"id": job.get("id"), "release": job.get("release"), "engine": job.get("key"), "note": beat.get("note")}
        found = {name: text if isinstance(text, str) else None for name, text in found.items()}
        seconds = beat.get("seconds")
        return dict(found, seconds=seconds if is_number(seconds) else None)

    def _repair(self) -> None:
        """Make lost links and an emptied config.json again, from the copies that are kept of them."""
        device_config.restore(self.path("config.json"), self.path("config.copy.json"))
        switch = self.switch_in_progress()
        if switch is not None:  # what the links should be is settled with it; but something should run
            if self.pointed("current") is None and switch.get("current"):
                self.point("current", switch["current"])
            return
        state = self.state()
        for link in LINKS:
            lost = self.pointed(link) is None or (link == "previous" and self.pointed(link) == self.pointed("current"))
            known = state[link] and state[link] != self.pointed("current")
            if lost and known and os.path.isdir(self.path("releases", state[link])):
                self.point(link, state[link])
        self.remember_links()
