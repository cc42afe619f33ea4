"""The agent's folder on the board: what is where, who may change it, and what is true after a power cut.

::

    <root>/releases/<id>/      whole once it has no ``.part`` in its name
    <root>/engines/<key>/      engine, engine.json
    <root>/reports/<id>.json   what the last verification saw
    <root>/build/              the running or last build: job, heartbeat, outcome, log
    <root>/current previous    symlinks to releases; ``left`` while a rollback swaps them
    <root>/state.json          which release was verified with which engine
    <root>/config.json         the board owner's: {"quota": bytes}
    <root>/keys.json           whose releases are taken (and keys.copy.json); serials.json: how new they must be
    <root>/lock build.lock     flock
"""

import errno
import fcntl
import os
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Optional

from . import keys, trust
from . import manifest as manifests
from .errors import AgentError
from .files import is_folder, make_folder, point, read_json, sync_folder, write_json


class Store(object):
    """The agent's root folder; made when missing, private to its user.

    Raises:
        AgentError: It cannot be made or written.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        try:
            os.makedirs(self.root, mode=0o700, exist_ok=True)
            for folder in ("releases", "engines", "reports", "build"):
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
        raw = manifests.read_bytes(folder, release)
        trust.check(self, release, raw, trust.signature_in(folder))
        return manifests.parse(raw, release)

    def signed_by(self, release: str) -> Optional[str]:
        """Fingerprint of the board's key that signed a release; None where no key of the board did."""
        try:
            folder = self.release(release)
            public = trust.check(self, release, manifests.read_bytes(folder, release), trust.signature_in(folder))
        except AgentError:
            return None
        return None if public is None else keys.fingerprint(public)

    def releases(self) -> List[str]:
        return self._whole("releases")

    def engines(self) -> List[str]:
        return self._whole("engines")

    def _whole(self, folder: str) -> List[str]:
        names = os.listdir(self.path(folder))
        return sorted(name for name in names if not name.endswith(".part") and is_folder(self.path(folder, name)))

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
        if os.path.lexists(self.path(link)):
            os.unlink(self.path(link))
            sync_folder(self.root)

    # state

    def state(self) -> Dict[str, Any]:
        """What the agent remembers; after damage it remembers nothing, and verification is repeated."""
        state = read_json(self.path("state.json"))
        verified = state.get("verified") if isinstance(state, dict) else None
        return {"format": 1, "verified": verified if isinstance(verified, dict) else {}}

    def verified_engine(self, release: str) -> Optional[str]:
        """Key of the engine with which a release was last verified."""
        return self.state()["verified"].get(release)

    def remember_verified(self, release: str, engine: Optional[str]) -> None:
        state = self.state()
        state["verified"].pop(release, None)
        if engine is not None:
            state["verified"][release] = engine
        write_json(self.path("state.json"), state)

    def report(self, release: str) -> Optional[Dict[str, Any]]:
        """What the last verification of a release saw."""
        return read_json(self.path("reports", release + ".json"))

    # space

    def free_bytes(self) -> int:
        """Bytes the agent may still write: what the disk has, or what the owner's quota leaves."""
        disk = os.statvfs(self.root)
        free = disk.f_bavail * disk.f_frsize
        config = read_json(self.path("config.json"))
        quota = config.get("quota") if isinstance(config, dict) else None
        if isinstance(quota, int):
            free = min(free, max(quota - self._used(), 0))
        return free

    def _used(self) -> int:
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
        """Be the only one who changes this board.

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
            yield
        finally:
            os.close(descriptor)


def open_lock(path: str) -> int:
    """A descriptor to lock by; children do not inherit it (Python opens close-on-exec)."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free. It is freed when the process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EAGAIN):
            raise
        return False
