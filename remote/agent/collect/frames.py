"""The frames that are kept on a board, in ``<root>/collected``: within their quota, whole, and for days at most.

::

    <sha256>.<rank>.<age>.jpg|png     a frame, by its own digest
    <sha256>.<rank>.<age>.json        what was found in it, by which release; written last: without it there is no frame
    lock                              flock: programs and agents share the folder
    age.json                          see ``age``

A rank is in thousandths, an age in seconds of the folder's: names alone tell which frame goes first.
"""

import hashlib
import json
import os
import re
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from ..disk_usage import FRAMES
from ..errors import AgentError
from ..locks import taken
from ..safe_files import discard, make_folder, read_bytes, read_object, remove, write_bytes
from .age import age_of
from .encode import kind_of

#: Frames of one board, and bytes of one: a list of them is one line of the agent's.
MOST, LARGEST = 5000, 32 << 20
#: Share of the disk that stays free whatever the quota.
_SPARE = 0.05
#: Seconds to wait for another process, which keeps a frame in far less.
_PATIENCE = 30.0
_DAY = 86400.0
#: Bytes that file systems give files at a time.
_BLOCK = 4096
_NAME = re.compile(r"([0-9a-f]{64})\.([0-9]{4})\.([0-9]{1,12})\.(jpg|png)\Z")
_OWN = ("lock", "age.json")
#: What is said of a frame beside its digest and size.
FACTS = ("kind", "height", "width", "release", "classes", "reason", "rank", "time", "found")

#: A frame: its sha256 in hex, thousandths of its rank, the folder's age when it came, bytes with those of its facts.
Frame = NamedTuple("Frame", [("id", str), ("rank", int), ("came", int), ("name", str), ("size", int)])


class Frames(object):
    """The folder of frames; made when it is first written."""

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, FRAMES)
        self._sizes = {}  # type: Dict[str, int]

    def keep(self, content: bytes, facts: Dict[str, Any], quota: int, days: float) -> bool:
        """Keep a frame, in the place of less uncertain ones where there is no room.

        Args:
            content: A JPEG or PNG file.
            facts: ``FACTS``.

        Returns:
            Whether it is kept: not if it is there already, or all others are more uncertain.

        Raises:
            AgentError: The folder is not the agent's, or it is in use for too long.
            OSError: It cannot be written.
        """
        digest, kind = hashlib.sha256(content).hexdigest(), kind_of(content)
        if kind is None or len(content) > LARGEST:
            return False
        rank = round(1000 * min(max(facts["rank"], 0.0), 1.0))
        said = json.dumps(dict(facts, kind=kind), sort_keys=True).encode("utf-8")
        with self._lock():
            age, there = self._sweep(days)
            needed = _on_disk(len(content)) + _on_disk(len(said))
            if any(frame.id == digest for frame in there) or not self._make_room(there, rank, needed, quota):
                return False
            stem = "%s.%04d.%d" % (digest, rank, age)
            write_bytes(self._path("%s.%s" % (stem, kind)), content)
            write_bytes(self._path(stem + ".json"), said)
        return True

    def expire(self, days: float) -> None:
        """Remove what is too old, or damaged."""
        if os.path.isdir(self.folder):
            with self._lock():
                self._sweep(days)

    def listed(self) -> List[Frame]:
        """The frames that there are, oldest first."""
        return sorted(self._frames(_names(self.folder)), key=lambda frame: (frame.came, frame.id))

    def read(self, frame: Frame) -> Optional[Tuple[Dict[str, Any], bytes]]:
        """What is known of a frame, and its bytes; None where it is gone or damaged."""
        try:
            content = read_bytes(self._path(frame.name), LARGEST)
        except OSError:
            return None
        facts = read_object(self._path(_facts(frame.name)))
        whole = set(facts) == set(FACTS) and hashlib.sha256(content).hexdigest() == frame.id
        return (facts, content) if whole else None

    def remove(self, frames: Iterable[Frame]) -> None:
        """Remove frames."""
        if os.path.isdir(self.folder):
            with self._lock():
                for frame in frames:
                    self._remove(frame)

    def _sweep(self, days: float) -> Tuple[int, List[Frame]]:
        """The folder's age, and the frames that stay; what is too old, or no whole frame, is removed."""
        names = _names(self.folder)
        frames = self._frames(names)
        age = age_of(self._path("age.json"), max([frame.came for frame in frames] or [0]))
        named = set(_OWN)
        for frame in frames:
            named.update((frame.name, _facts(frame.name)))
        for name in names - named:  # a program was killed, or the power cut, while it wrote
            remove(self._path(name))
        self._sizes = {frame.name: frame.size for frame in frames}
        for frame in frames:
            if age - frame.came > days * _DAY:
                self._remove(frame)
        return age, [frame for frame in frames if age - frame.came <= days * _DAY]

    def _make_room(self, there: List[Frame], rank: int, needed: int, quota: int) -> bool:
        """Remove the least uncertain frames, of these the oldest first, until there is room; never a more uncertain
        one, and none where that does not help."""
        disk = os.statvfs(self.folder)
        free = disk.f_bavail * disk.f_frsize - int(_SPARE * disk.f_blocks * disk.f_frsize)
        over = max(sum(frame.size for frame in there) + needed - quota, needed - free)
        count = len(there) - MOST + 1
        going = []  # type: List[Frame]
        for frame in sorted(there, key=lambda frame: (frame.rank, frame.came)):
            if over <= 0 and len(going) >= count:
                break
            if frame.rank > rank:
                return False
            going.append(frame)
            over -= frame.size
        if over > 0:
            return False
        for frame in going:
            self._remove(frame)
        return True

    def _frames(self, names: Any) -> List[Frame]:
        found = []
        for name in names:
            match = _NAME.match(name)
            if match is None or _facts(name) not in names:
                continue
            try:
                size = self._sizes.get(name) or self._size(name)
            except OSError:  # removed meanwhile
                continue
            found.append(Frame(match.group(1), int(match.group(2)), int(match.group(3)), name, size))
        return found

    def _size(self, name: str) -> int:
        return sum(_on_disk(os.lstat(self._path(each)).st_size) for each in (name, _facts(name)))

    def _remove(self, frame: Frame) -> None:
        """The facts first: what a power cut leaves of it is no frame."""
        discard(self._path(_facts(frame.name)))
        discard(self._path(frame.name))

    def _path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        make_folder(self.folder)
        with taken(self._path("lock"), _PATIENCE) as lock:
            if lock is None:
                raise AgentError(
                    "the collected frames are in use", "another process has held them", "run again", "busy"
                )
            yield


def _names(folder: str) -> Any:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def _on_disk(size: int) -> int:
    """Bytes that a file of this size takes."""
    return -(-size // _BLOCK) * _BLOCK


def _facts(name: str) -> str:
    return os.path.splitext(name)[0] + ".json"
