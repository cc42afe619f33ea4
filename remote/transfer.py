"""Send a release to a board: what it lacks, from where an earlier attempt stopped, within what all uploads may take.

The bytes go into the standard input of the agent's ``receive``, which is the fastest way there is with paramiko, and
needs nothing of the board that running the agent does not need; SFTP is not used.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.remote.release import Release
from jetlane.remote.ssh import Event, OnEvent

if TYPE_CHECKING:
    from jetlane.remote.device import Agent

#: Four of the packets that OpenSSH takes (32 KiB, of which paramiko keeps 64 bytes for itself): nothing is left over.
_PIECE = 4 * ((1 << 15) - 64)
#: Seconds between two words about how far an upload is.
_SAYS = 0.5


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
    def turn(self, tell: OnEvent) -> Iterator[None]:
        """Wait until one more upload is allowed, and hold the place."""
        if self._turns is None:
            yield
            return
        if not self._turns.acquire(blocking=False):
            tell({"event": "progress", "step": "ship", "note": "waits for other uploads to end"})
            self._turns.acquire()
        try:
            yield
        finally:
            self._turns.release()

    def spend(self, count: int) -> None:
        """Wait until so many bytes may be sent. Nothing is saved up: after a pause, no burst follows."""
        if not self._rate:
            return
        with self._lock:
            start = max(time.monotonic(), self._free_at)
            self._free_at = start + count / self._rate
        time.sleep(max(0.0, start - time.monotonic()))


def ship(agent: Agent, release: Release, uploads: Uploads, tell: OnEvent) -> dict[str, Any]:
    """Send what the board lacks of a release; it says what that is, and from which byte.

    Returns:
        The result of the agent's ``receive``.

    Raises:
        AgentFailure: kinds ``cut``, ``disk``, ``corrupt``, ``tampered``, ``busy``; what arrived is kept.
    """
    request: dict[str, Any] = {"release": release.id, "manifest_size": len(release.raw)}
    if release.signature is not None:
        request["signature"] = release.signature.decode()

    def feed(event: Event, send: Callable[[bytes], None]) -> None:
        entries = [_start(release, entry) for entry in event["files"]]
        says = _Progress(sum(entry["size"] - entry["offset"] for entry in entries), tell)
        for entry in entries:
            send(json.dumps({name: entry[name] for name in ("path", "offset", "size", "sha256")}).encode() + b"\n")
            for piece in _pieces(release.file(entry["path"]), entry["offset"], uploads.piece):
                uploads.spend(len(piece))
                send(piece)
                says.sent(len(piece))

    with uploads.turn(tell):
        return agent.call("receive", request, release.raw, feed)


def _start(release: Release, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where to go on with a file: not behind bytes that are not ours."""
    if not entry["offset"]:
        return entry
    digest = hashlib.sha256()
    with open(release.file(entry["path"]), "rb") as file:
        left = entry["offset"]
        while piece := file.read(min(left, 1 << 20)):
            digest.update(piece)
            left -= len(piece)
    return entry if digest.hexdigest() == entry.get("begins") else {**entry, "offset": 0}


def _pieces(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with open(path, "rb") as file:
        file.seek(offset)
        while piece := file.read(size):
            yield piece


class _Progress:
    """Says now and then how many bytes of an upload are on their way."""

    def __init__(self, total: int, tell: OnEvent) -> None:
        self._total, self._tell, self._done, self._next = total, tell, 0, time.monotonic() + _SAYS

    def sent(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SAYS
            self._tell({"event": "progress", "step": "ship", "done": self._done, "total": self._total})
