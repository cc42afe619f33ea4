"""Which steps a run uses: noted before each is looked at, so that none is cleaned away while its run goes on.

A record is ``<workspace>/runs/<id>.json``; beside it, a lock that the run holds as long as it lives. What the newest
runs used is kept (``retention``); what a living run uses is never removed.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional

from jetlane.specs.errors import GateError, WorkspaceError
from jetlane.specs.support.local_files import PRIVATE, in_words, private_folder, read_json, write_atomic

if TYPE_CHECKING:
    from filelock import FileLock

    from jetlane.tasks.run.workspace import Workspace

_FOLDER = "runs"
CUT_OFF = "cut off"


@dataclass(frozen=True)
class UsedSteps:
    """A run as its record tells.

    Attributes:
        name: Of its spec; empty where a release was only used for a while.
        steps: (step, key) of each that it looked at, found or made, in the order of the run.
        log: File name in ``logs/``; empty where it wrote none.
        living: Whether the run goes on.
        outcome: ``running``; how it ended, as ``notify.ends`` has it; ``completed`` of one of which that was not noted,
            ``cut off`` where its process was ended; empty of one that an older version ended.
    """

    path: Path
    name: str
    steps: tuple[tuple[str, str], ...]
    log: str
    living: bool
    outcome: str = ""

    @property
    def began(self) -> str:
        """UTC, as the folders of added batches have it: ``20261201-095908``."""
        return self.path.name[:15].replace("T", "-")


class RunRecord:
    """The record of one run, written when it first uses a step; a context manager that ends with the run.

    Args:
        root: The workspace's folder.
        name: Of the run's spec.
    """

    def __init__(self, root: Path, name: str) -> None:
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now)) + f"{now % 1:.6f}"[1:]
        self._path = root / _FOLDER / f"{stamp}-{os.getpid()}-{secrets.token_hex(3)}.json"
        self._known: dict[str, Any] = {"name": name, "steps": [], "log": ""}
        self._lock: Optional[FileLock] = None

    def __enter__(self) -> RunRecord:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._lock is not None:
            with suppress(OSError, WorkspaceError):  # of a full disk the run itself has told
                self._known.setdefault("outcome", _outcome(error))
                self._write()
            self._lock.release()
            self._lock = None
            _lock_file(self._path).unlink(missing_ok=True)

    def use(self, step: str, key: str) -> None:
        """Note a step. The caller holds the step's lock: from here on it stays until the run ends.

        Raises:
            WorkspaceError: The note cannot be written.
        """
        if [step, key] not in self._known["steps"]:
            self._known["steps"].append([step, key])
            self._write()

    def log(self, name: str) -> None:
        """Note the run's log, a file of ``logs/``."""
        self._known["log"] = name
        self._write()

    def ended(self, end: str) -> None:
        """Note how the run ended; a run that used no step has no record."""
        self._known["outcome"] = end
        if self._lock is not None:
            self._write()

    def _write(self) -> None:
        with in_words(self._path):
            private_folder(self._path.parent)
            if self._lock is None:
                self._lock = _lock(self._path)
                self._lock.acquire()
        write_atomic(self._path, json.dumps(self._known), PRIVATE)


@contextmanager
def using_release(workspace: Workspace, release: Path) -> Iterator[None]:
    """Keep a release of this workspace as long as the block takes; one that lies elsewhere is its owner's."""
    place = Path(os.path.realpath(release)).parent
    if place.parent != Path(os.path.realpath(workspace.root / "steps" / "release")):
        yield
        return
    with RunRecord(workspace.root, "") as record:
        with workspace.lock(f"release-{place.name}"):
            record.use("release", place.name)
        yield


def records(root: Path) -> list[UsedSteps]:
    """All records of a workspace that can be read, the newest first."""
    found = (_read(path) for path in sorted((root / _FOLDER).glob("*.json"), reverse=True))
    return [record for record in found if record is not None]


def used_now(root: Path) -> set[tuple[str, str]]:
    """(step, key) of all that runs which go on have used so far."""
    return {step for record in records(root) if record.living for step in record.steps}


def forget(record: UsedSteps) -> None:
    """Remove the record of a run that has ended."""
    _lock_file(record.path).unlink(missing_ok=True)
    record.path.unlink(missing_ok=True)


def _read(path: Path) -> Optional[UsedSteps]:
    known = read_json(path)
    with suppress(KeyError, TypeError, ValueError, AttributeError):
        steps = tuple((str(step), str(key)) for step, key in known["steps"])
        living, left = _held(path), _lock_file(path).exists()  # a process that is killed leaves its lock
        outcome = "running" if living else str(known.get("outcome", CUT_OFF if left else ""))
        return UsedSteps(path, str(known["name"]), steps, str(known["log"]), living, outcome)
    return None


def _outcome(error: Optional[BaseException]) -> str:
    if error is None:
        return "completed"
    if isinstance(error, GateError):
        return "refused"
    return "failed" if isinstance(error, Exception) else CUT_OFF


def _held(path: Path) -> bool:
    from filelock import Timeout

    if not _lock_file(path).exists():
        return False
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _lock(path: Path) -> FileLock:
    from filelock import FileLock

    return FileLock(_lock_file(path), thread_local=False)


def _lock_file(path: Path) -> Path:
    return path.with_suffix(".lock")
