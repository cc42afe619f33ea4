"""The agent's folder on the board: what is where, who may change it, and what is true after a power cut.

::

    <root>/releases/<id>/      whole once it has no ``.part`` in its name
    <root>/engines/<key>/      engine, engine.json; trial.json while it is tried, doubt.json when it is used no more
    <root>/aside/<key>/        an engine that is used no more, until garbage is collected
    <root>/reports/<id>.json   what the last verification saw
    <root>/build/              the running or last build: job, heartbeat, outcome, log; commands that are owed
    <root>/logs/               logs of earlier builds, and of activations
    <root>/current previous    symlinks to releases
    <root>/switch.json         the switch under way, until the new release has shown itself healthy
    <root>/state.json          which release was verified with which engine; what current and previous are, to mend them
    <root>/config.json         the board owner's: {"quota": bytes, "activate": {...}, "build": {...}}
    <root>/keys.json           whose releases are taken (and keys.copy.json); serials.json: how new they must be
    <root>/lock build.lock     flock

No file holds a time: a board's clock may stand in 1970 and jump. Within a process durations come from the monotonic
clock; processes tell each other durations (``heartbeat.json``) and orders (serials, ``history``, numbers of logs), and
what is over they learn from a lock that is free.
"""

import errno
import fcntl
import os
import re
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

from . import device_config, old_names
from . import manifest as manifests
from .errors import AgentError
from .safe_files import (
    discard,
    displaced,
    is_folder,
    is_plain,
    make_folder,
    point,
    read_json,
    read_object,
    remove,
    sync_folder,
    write_json,
)
from .strict_json import is_number, is_whole
from .trust import admission as trust
from .trust import keys

#: Logs that are kept, of each kind: build, activate, rollback, health.
LOGS = 10
_LINKS = ("current", "previous")

#: What a report says of each sample.
_SHOWN = {"file", "boxes", "labels", "scores"}
#: Keys of engines, and digests.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


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
        return self._whole("engines", lambda name: _KEY.match(name) and not name.endswith(".part"))

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

    def switching(self) -> Optional[Dict[str, Any]]:
        """The switch that is not finished yet, see activate.py; None when all is settled.

        One that a power cut made unreadable is put together from ``current`` and from what the state remembers.
        """
        path = self.path("switch.json")
        if not os.path.lexists(path):
            return None
        switch = read_object(path)
        if manifests.is_id(switch.get("release")) and all(_is_link(switch.get(link)) for link in _LINKS):
            return switch
        state, current, previous = self.state(), self.pointed("current"), self.pointed("previous")
        if current == state["current"]:  # nothing had been switched yet
            return {"release": "", "current": current, "previous": state["previous"]}
        before = state["current"] or (previous if previous != current else None)
        return {"release": current, "current": before, "previous": state["previous"]}

    def way_back(self) -> Optional[str]:
        """The release that a rollback without a name goes to."""
        switch = self.switching()
        if switch is None:
            previous = self.pointed("previous")
            return previous if previous != self.pointed("current") else None
        return switch.get("current" if self.pointed("current") == switch["release"] else "previous")

    def begin(self, switch: Dict[str, Any]) -> None:
        """Note a switch before anything of it is done."""
        write_json(self.path("switch.json"), switch)

    def settled(self) -> None:
        """A switch has come to its end."""
        self.remember_links()
        if os.path.lexists(self.path("switch.json")):
            remove(self.path("switch.json"))
            sync_folder(self.root)

    # state

    def state(self) -> Dict[str, Any]:
        """What the agent remembers; after damage it remembers nothing, and verification is repeated.

        ``verified`` is {release: engine}, ``digests`` the sha256 that each of these had; a rebuilt engine has another.
        ``current`` and ``previous`` are those of the last settled switch, ``history`` has the releases by their last
        verification: the board's clock is not relied on.
        """
        kept = read_object(self.path("state.json"))
        links = {link: kept[link] if manifests.is_id(kept.get(link)) else None for link in _LINKS}
        history = kept.get("history")
        return {
            "format": 1,
            "verified": _texts(kept.get("verified"), _KEY),
            "digests": _texts(kept.get("digests"), _DIGEST),
            "history": list(filter(manifests.is_id, history)) if isinstance(history, list) else [],
            **links,
        }

    def write_state(self, state: Dict[str, Any]) -> None:
        write_json(self.path("state.json"), state)

    def verified_engine(self, release: str) -> Optional[str]:
        """Key of the engine with which a release was last verified; see ``engines.verified``."""
        return self.state()["verified"].get(release)

    def verified_digest(self, release: str) -> Optional[str]:
        """The sha256 of that engine; None where 0.1 verified it, which did not note it."""
        return self.state()["digests"].get(release)

    def in_use(self) -> List[str]:
        """Releases that run, may be gone back to, or take part in a switch."""
        switch = self.switching() or {}
        names = [self.pointed(link) for link in _LINKS]
        names += [switch.get(name) for name in ("release", *_LINKS)]
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
        now = {link: self.pointed(link) for link in _LINKS}
        if any(state[link] != now[link] for link in _LINKS):
            self.write_state(dict(state, **now))

    def report(self, release: str) -> Optional[Dict[str, Any]]:
        """What the last verification of a release saw; None where that is not known, or damaged."""
        report = read_json(self.path("reports", release + ".json"))
        rows = report.get("samples") if isinstance(report, dict) else None
        sound = isinstance(rows, list) and all(isinstance(row, dict) and set(row) >= _SHOWN for row in rows)
        return old_names.report(report) if sound and isinstance(report, dict) else None

    # the owner's say

    def config(self) -> Dict[str, Any]:
        """What the board's owner wrote into config.json; nothing where there is none.

        Raises:
            AgentError: It cannot be understood; kind ``config``.
        """
        return device_config.read(self.path("config.json"))

    # logs

    def new_log(self, about: str) -> str:
        """Path of a new file in ``logs``, numbered; the oldest of its kind give way."""
        folder = self.path("logs")
        make_folder(folder)
        names = sorted(name for name in os.listdir(folder) if re.match(r"[0-9]{6}-", name))
        alike = [name for name in names if name[6:] == "-%s.txt" % about]
        for name in alike[: max(len(alike) - LOGS + 1, 0)]:
            remove(os.path.join(folder, name))
        number = int(names[-1][:6]) + 1 if names else 1
        return os.path.join(folder, "%06d-%s.txt" % (number, about))

    # space

    def free_bytes(self) -> int:
        """Bytes the agent may still write: what the disk has, or what the owner's quota leaves."""
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        try:
            quota = self.config().get("quota")  # type: Any
        except AgentError:  # it is told where its commands are looked for
            quota = None
        if is_whole(quota):
            free = min(free, max(quota - self.used_bytes(), 0))
        return free

    def used_bytes(self) -> int:
        """Bytes of the disk that the agent's folder takes; what has several names is counted once."""
        seen = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                try:
                    entry = os.lstat(os.path.join(folder, name))
                except OSError:
                    continue
                seen[entry.st_ino] = entry.st_blocks * 512
        return sum(seen.values())

    # locks

    @contextmanager
    def lock(self, wait: float = 3.0) -> Iterator[None]:
        """Be the only one who changes this board. What a power cut has damaged is mended first.

        Raises:
            AgentError: Somebody else has been at it for ``wait`` seconds; kind ``busy``.
        """
        descriptor = open_lock(self.path("lock"))
        try:
            deadline = time.monotonic() + wait
            while not try_lock(descriptor):
                if time.monotonic() > deadline:
                    raise AgentError(
                        "another delivery is at work on this board",
                        "only one at a time may change it",
                        "wait for it to end, then run again",
                        "busy",
                    )
                time.sleep(0.1)
            self._mend()
            yield
        finally:
            os.close(descriptor)

    def mend(self) -> None:
        """Mend what a power cut has damaged, unless somebody is at work here, or the disk takes nothing."""
        try:
            with self.lock(wait=0.0):
                pass
        except (AgentError, OSError):
            pass

    @contextmanager
    def build_lock(self) -> Iterator[Optional[int]]:
        """The build lock's descriptor, or None while a build holds it."""
        descriptor = open_lock(self.path("build.lock"))
        try:
            yield descriptor if try_lock(descriptor) else None
        finally:
            os.close(descriptor)

    def building(self) -> Optional[Dict[str, Any]]:
        """The build that runs: ``id``, ``release``, ``engine``, ``seconds``, ``note``; None when none does."""
        with self.build_lock() as lock:
            if lock is not None:
                return None
        job = read_object(self.path("build", "job.json"))
        if job.get("id") is not None and read_object(self.path("build", "outcome.json")).get("id") == job["id"]:
            return None  # it has ended, and somebody else looked at the lock in the same moment
        beat = read_object(self.path("build", "heartbeat.json"))
        found = {"id": job.get("id"), "release": job.get("release"), "engine": job.get("key"), "note": beat.get("note")}
        found = {name: text if isinstance(text, str) else None for name, text in found.items()}
        seconds = beat.get("seconds")
        return dict(found, seconds=seconds if is_number(seconds) else None)

    def _mend(self) -> None:
        """Make lost links and an emptied config.json again, from the copies that are kept of them."""
        device_config.mend(self.path("config.json"), self.path("config.copy.json"))
        switch = self.switching()
        if switch is not None:  # what the links should be is settled with it; but something should run
            if self.pointed("current") is None and switch.get("current"):
                self.point("current", switch["current"])
            return
        state = self.state()
        for link in _LINKS:
            lost = self.pointed(link) is None or (link == "previous" and self.pointed(link) == self.pointed("current"))
            known = state[link] and state[link] != self.pointed("current")
            if lost and known and os.path.isdir(self.path("releases", state[link])):
                self.point(link, state[link])
        self.remember_links()


def open_lock(path: str) -> int:
    """A descriptor to lock by; children do not inherit it (Python opens close-on-exec).

    Raises:
        AgentError: Something else has its name; kind ``tampered``.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if not is_plain(os.path.dirname(path), os.path.basename(path)):
        os.close(descriptor)
        raise displaced(path)
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free. It is freed when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return False


def _texts(value: Any, shape: Any) -> Dict[str, str]:
    """Of a table by release, what is one: the rest is damage."""
    found = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in found if manifests.is_id(name) and isinstance(text, str) and shape.match(text)}


def _is_link(value: Any) -> bool:
    return value is None or manifests.is_id(value)
