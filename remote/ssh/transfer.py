"""Uploads the missing files of a release to a device, resumes interrupted uploads, and limits all uploads together.

The bytes go to the standard input of the agent's ``receive``, which is the fastest way with paramiko and needs nothing
on the device that the agent does not need; SFTP is not used.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Optional, Protocol

from jetlane.remote.protocol.dialogue import board_error
from jetlane.remote.protocol.events import Need, Needed
from jetlane.remote.release.folder import Release, altered
from jetlane.remote.ssh.connection import SLOWEST, Feed, OnEvent
from jetlane.specs.errors import BoardError

if TYPE_CHECKING:
    from jetlane.remote.inventory import Device
    from jetlane.remote.ssh.watchdog import Watchdog

#: Exactly four of the packets that OpenSSH accepts (32 KiB, of which paramiko uses 64 bytes).
_PIECE = 4 * ((1 << 15) - 64)
#: Seconds between two progress events of an upload.
_REPORTS = 0.5
#: Seconds between two checks, while waiting for a turn, whether the work was given up.
_POLL = 0.25
#: Least bytes per second that a device hashes, of files it has and of received ones; and seconds for everything else.
_HASHED, _AROUND = 1e6, 300.0


class Receiver(Protocol):
    """The part of ``jetlane.remote.device.client.Agent`` that an upload needs."""

    @property
    def device(self) -> Device: ...

    @property
    def watchdog(self) -> Watchdog: ...

    def call(
        self, command: str, request: Mapping[str, Any], payload: bytes, feed: Feed, *, files: int, limit: float
    ) -> dict[str, Any]: ...


class Uploads:
    """The limits that all uploads of a process share; safe to use from many threads.

    Args:
        transfers: Number of parallel uploads; None for no limit.
        bandwidth: Bytes per second, of all uploads together; None for no limit.
    """

    def __init__(self, transfers: Optional[int] = None, bandwidth: Optional[int] = None) -> None:
        self._turns = threading.BoundedSemaphore(transfers) if transfers else None
        self._rate = bandwidth
        self._lock = threading.Lock()
        self._free_at = 0.0
        #: Bytes to send at a time; small where bandwidth is limited, so that uploads take turns and none falls silent.
        self.piece = max(1024, min(_PIECE, bandwidth // 10)) if bandwidth else _PIECE

    @contextmanager
    def turn(self, on_event: OnEvent, watchdog: Watchdog) -> Iterator[None]:
        """Wait until one more upload is allowed, and count as one.

        Raises:
            Exception: The work on this device was given up meanwhile.
        """
        if self._turns is None:
            yield
            return
        if not self._turns.acquire(blocking=False):
            on_event({"event": "progress", "step": "ship", "note": "waits for other uploads to end"})
            while not self._turns.acquire(timeout=_POLL):
                watchdog.check()
        try:
            yield
        finally:
            self._turns.release()

    def spend(self, count: int, pause: Callable[[float], None]) -> None:
        """Wait until so many bytes may be sent. Unused bandwidth is not saved up: no burst follows a pause.

        Args:
            pause: Waits so many seconds, or raises why the work was given up.
        """
        if not self._rate:
            return
        with self._lock:
            start = max(time.monotonic(), self._free_at)
            self._free_at = start + count / self._rate
        pause(start - time.monotonic())


def ship(agent: Receiver, release: Release, uploads: Uploads, on_event: OnEvent) -> dict[str, Any]:
    """Send the files of a release that the device asks for, each from the byte it asks for.

    Only files in the manifest are sent: a device that asks for anything else, or beyond the end of a file, is refused.

    Returns:
        The result of the agent's ``receive``.

    Raises:
        AgentFailure: kinds ``cut``, ``disk``, ``corrupt``, ``tampered``, ``busy``; received bytes are kept.
        BoardError: The device asks for what is not in the release, or reports to have received something else.
        ReleaseError: A file of the release was changed since it was read.
    """
    request: dict[str, Any] = {"release": release.id, "manifest_size": len(release.raw)}
    if release.signature is not None:
        request["signature"] = release.signature.decode()
    sent: list[int] = []

    def feed(need: Need, send: Callable[[bytes], None]) -> None:
        entries = _asked(agent, release, need)
        sent.extend(entry.size - entry.offset for entry in entries)
        progress = _Progress(sum(sent), on_event)
        for entry in entries:
            line = {"path": entry.path, "offset": entry.offset, "size": entry.size, "sha256": entry.sha256}
            send(json.dumps(line).encode() + b"\n")
            for piece in _pieces(release, entry, uploads.piece):
                uploads.spend(len(piece), agent.watchdog.pause)
                send(piece)
                agent.watchdog.earn(len(piece) / SLOWEST)
                progress.sent(len(piece))

    files = len(release.manifest["files"])
    with uploads.turn(on_event, agent.watchdog):
        limit = _AROUND + 2 * release.size / _HASHED
        result = agent.call("receive", request, release.raw, feed, files=files, limit=limit)
    counted = (result["release"], result["received"], result["bytes"], result["kept"])
    if counted != (release.id, len(sent), sum(sent), files - len(sent)):
        raise _refusal(
            agent, f"{len(sent)} files were sent to it, {sum(sent)} bytes of {release.id}; it says {counted}"
        )
    return result


def _asked(agent: Receiver, release: Release, need: Need) -> list[Needed]:
    """The files to send, after checking that each is in the manifest, asked for once, and not beyond its end."""
    known, seen = release.manifest["files"], set()
    for entry in need.files:
        file = known.get(entry.path)
        if file is None:
            raise _refusal(agent, f"it asks for {entry.path}, which is no file of {release.id}")
        if (entry.size, entry.sha256) != (file["size"], file["sha256"]) or entry.offset > entry.size:
            raise _refusal(agent, f"it asks for {entry.path} as it is not in the manifest of {release.id}")
        if entry.path in seen:
            raise _refusal(agent, f"it asks for {entry.path} twice")
        seen.add(entry.path)
    return [_start(release, entry) for entry in need.files]


def _refusal(agent: Receiver, why: str) -> BoardError:
    return board_error(agent.device.name, "receive", why)


def _start(release: Release, entry: Needed) -> Needed:
    """The offset to resume from: 0 where the device's first bytes of the file are not ours."""
    if not entry.offset:
        return entry
    digest = hashlib.sha256()
    with release.open(entry.path) as file:
        left = entry.offset
        while piece := file.read(min(left, 1 << 20)):
            digest.update(piece)
            left -= len(piece)
    return entry if digest.hexdigest() == entry.begins else entry.model_copy(update={"offset": 0})


def _pieces(release: Release, entry: Needed, size: int) -> Iterator[bytes]:
    """The bytes of a file from its offset to the size in the manifest."""
    with release.open(entry.path) as file:
        file.seek(entry.offset)
        left = entry.size - entry.offset
        while left:
            piece = file.read(min(size, left))
            if not piece:
                raise altered(release.id, f"{entry.path} became shorter while it was sent")
            yield piece
            left -= len(piece)


class _Progress:
    """Reports every now and then how many bytes of an upload have been sent."""

    def __init__(self, total: int, on_event: OnEvent) -> None:
        self._total, self._tell, self._done, self._next = total, on_event, 0, time.monotonic() + _REPORTS

    def sent(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORTS
            self._tell({"event": "progress", "step": "ship", "done": self._done, "total": self._total})
