"""Send a release to a board: what it lacks, from where an earlier attempt stopped, within what all uploads may take.

The bytes go into the standard input of the agent's ``receive``, which is the fastest way there is with paramiko, and
needs nothing of the board that running the agent does not need; SFTP is not used.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.remote.protocol.dialogue import board_error
from jetlane.remote.protocol.events import Need, Needed
from jetlane.remote.release.folder import Release
from jetlane.remote.ssh.connection import Feed, OnEvent
from jetlane.specs.errors import BoardError, ReleaseError

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.ssh.watchdog import Watchdog

#: Four of the packets that OpenSSH takes (32 KiB, of which paramiko keeps 64 bytes for itself): nothing is left over.
_PIECE = 4 * ((1 << 15) - 64)
#: Seconds between two words about how far an upload is.
_SAYS = 0.5
#: Seconds between two looks, while waiting for a turn, at whether the work was given up.
_LOOK = 0.25
#: Bytes a second below which an upload is too slow to go on with: what a board takes earns it the time for it, so that
#: one that takes nearly nothing does not keep others from their turn for as long as the whole upload might last.
_SLOWEST = 16384
#: Bytes a second that a board at least hashes, of what it has and of what came; and seconds for all else.
_HASHED, _AROUND = 1e6, 300.0


class Receiver(Protocol):
    """What an upload needs of the agent it goes to: ``jetlane.remote.device.client.Agent`` is one."""

    @property
    def device(self) -> Device: ...

    @property
    def watchdog(self) -> Watchdog: ...

    def call(
        self,
        command: str,
        request: Optional[Mapping[str, Any]] = None,
        payload: bytes = b"",
        feed: Optional[Feed] = None,
        files: int = 0,
        samples: Optional[Sequence[str]] = None,
        limit: Optional[float] = None,
    ) -> dict[str, Any]: ...


class Uploads:
    """What all uploads of a process share. Made once and given to every delivery; safe to use from many threads.

    Args:
        transfers: How many devices are sent to at once; None for no limit.
        bandwidth: Bytes a second, of all of them together; None for no limit.
    """

    def __init__(self, transfers: Optional[int] = None, bandwidth: Optional[int] = None) -> None:
        self._turns = threading.BoundedSemaphore(transfers) if transfers else None
        self._rate = bandwidth
        self._lock = threading.Lock()
        self._free_at = 0.0
        #: Bytes to send at a time; small where little is allowed, so that uploads take turns and boards hear something.
        self.piece = max(1024, min(_PIECE, bandwidth // 10)) if bandwidth else _PIECE

    @contextmanager
    def turn(self, tell: OnEvent, watchdog: Watchdog) -> Iterator[None]:
        """Wait until one more upload is allowed, and hold the place.

        Raises:
            Exception: The work on this device was given up meanwhile.
        """
        if self._turns is None:
            yield
            return
        if not self._turns.acquire(blocking=False):
            tell({"event": "progress", "step": "ship", "note": "waits for other uploads to end"})
            while not self._turns.acquire(timeout=_LOOK):
                watchdog.check()
        try:
            yield
        finally:
            self._turns.release()

    def spend(self, count: int, pause: Callable[[float], None]) -> None:
        """Wait until so many bytes may be sent. Nothing is saved up: after a pause, no burst follows.

        Args:
            pause: Waits so many seconds, or raises why the work was given up.
        """
        if not self._rate:
            return
        with self._lock:
            start = max(time.monotonic(), self._free_at)
            self._free_at = start + count / self._rate
        pause(start - time.monotonic())


def ship(agent: Receiver, release: Release, uploads: Uploads, tell: OnEvent) -> dict[str, Any]:
    """Send what the board lacks of a release; it says what that is, and from which byte.

    Nothing leaves this machine but what the manifest names: a board that asks for anything else, or for more of a file
    than there is, is refused.

    Returns:
        The result of the agent's ``receive``.

    Raises:
        AgentFailure: kinds ``cut``, ``disk``, ``corrupt``, ``tampered``, ``busy``; what arrived is kept.
        BoardError: The board asks for what is not in the release, or says that something else came than was sent.
        ReleaseError: A file of the release was changed since it was read.
    """
    request: dict[str, Any] = {"release": release.id, "manifest_size": len(release.raw)}
    if release.signature is not None:
        request["signature"] = release.signature.decode()
    sent: list[int] = []

    def feed(need: Need, send: Callable[[bytes], None]) -> None:
        entries = _asked(agent, release, need)
        sent.extend(entry.size - entry.offset for entry in entries)
        says = _Progress(sum(sent), tell)
        for entry in entries:
            line = {"path": entry.path, "offset": entry.offset, "size": entry.size, "sha256": entry.sha256}
            send(json.dumps(line).encode() + b"\n")
            for piece in _pieces(release, entry, uploads.piece):
                uploads.spend(len(piece), agent.watchdog.pause)
                send(piece)
                agent.watchdog.earn(len(piece) / _SLOWEST)
                says.sent(len(piece))

    files = len(release.manifest["files"])
    with uploads.turn(tell, agent.watchdog):
        limit = _AROUND + 2 * release.size / _HASHED
        result = agent.call("receive", request, release.raw, feed, files=files, limit=limit)
    counted = (result["release"], result["received"], result["bytes"], result["kept"])
    if counted != (release.id, len(sent), sum(sent), files - len(sent)):
        raise _wrong(agent, f"{len(sent)} files were sent to it, {sum(sent)} bytes of {release.id}; it says {counted}")
    return result


def _asked(agent: Receiver, release: Release, need: Need) -> list[Needed]:
    """What a board needs, where that can be: files of the manifest, each once, none of them from behind its end."""
    known, seen = release.manifest["files"], set()
    for entry in need.files:
        file = known.get(entry.path)
        if file is None:
            raise _wrong(agent, f"it asks for {entry.path}, which is no file of {release.id}")
        if (entry.size, entry.sha256) != (file["size"], file["sha256"]) or entry.offset > entry.size:
            raise _wrong(agent, f"it asks for {entry.path} as it is not in the manifest of {release.id}")
        if entry.path in seen:
            raise _wrong(agent, f"it asks for {entry.path} twice")
        seen.add(entry.path)
    return [_start(release, entry) for entry in need.files]


def _wrong(agent: Receiver, why: str) -> BoardError:
    return board_error(agent.device.name, "receive", why)


def _start(release: Release, entry: Needed) -> Needed:
    """Where to go on with a file: not behind bytes that are not ours."""
    if not entry.offset:
        return entry
    digest = hashlib.sha256()
    with open(release.file(entry.path), "rb") as file:
        left = entry.offset
        while piece := file.read(min(left, 1 << 20)):
            digest.update(piece)
            left -= len(piece)
    return entry if digest.hexdigest() == entry.begins else entry.model_copy(update={"offset": 0})


def _pieces(release: Release, entry: Needed, size: int) -> Iterator[bytes]:
    """The bytes of a file from its offset, and exactly so many as the manifest says."""
    path: Path = release.file(entry.path)
    with open(path, "rb") as file:
        file.seek(entry.offset)
        left = entry.size - entry.offset
        while left:
            piece = file.read(min(size, left))
            if not piece:
                raise ReleaseError(
                    f"release {release.id} was altered while it was sent: {entry.path} is shorter than it was",
                    "its files are not those its manifest was made of",
                    "delete it and run again: it is made anew from the steps before it",
                )
            yield piece
            left -= len(piece)


class _Progress:
    """Says now and then how many bytes of an upload are on their way."""

    def __init__(self, total: int, tell: OnEvent) -> None:
        self._total, self._tell, self._done, self._next = total, tell, 0, time.monotonic() + _SAYS

    def sent(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SAYS
            self._tell({"event": "progress", "step": "ship", "done": self._done, "total": self._total})
