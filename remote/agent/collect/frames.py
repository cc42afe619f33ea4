"""The frames that are kept on a board, in ``<root>/collected``: within their quota, whole, and for days at most.

::

    <sha256>.<rank>.<age>.<check>.jpg|png    a frame, by its own digest
    <sha256>.<rank>.<age>.<check>.json       what was found in it; written last: without it there is no frame
    lock                                     flock: programs and agents share the folder
    age.json                                 see ``age``

A rank is in thousandths, an age in seconds of the folder's: names alone tell which frame goes first. The check is the
beginning of the json's sha256.
"""

import hashlib
import os
import re
from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Tuple

from .. import strict_json
from ..disk_usage import FRAMES
from ..errors import AgentError
from ..locks import taken
from ..safe_files import discard, make_folder, read_bytes, remove
from .age import age_of

#: Frames of one board, and bytes of one: a list of them is one line of the agent's.
MOST, LARGEST = 5000, 32 << 20
#: Seconds to wait for another process, which keeps a frame in far less.
_PATIENCE = 30.0
_DAY = 86400.0
#: Bytes that file systems give files at a time.
_BLOCK = 4096
_NAME = re.compile(r"([0-9a-f]{64})\.([0-9]{4})\.([0-9]{1,12})\.([0-9a-f]{8})\.(jpg|png)\Z")
_OWN = ("lock", "age.json")

#: A frame: its sha256 in hex, thousandths of its rank, the folder's age when it came, the json's check, the image's
#: name, bytes of both.
Frame = NamedTuple("Frame", [("id", str), ("rank", int), ("came", int), ("check", str), ("name", str), ("size", int)])


class Frames(object):
    """The folder of frames; made when it is first written."""

    def __init__(self, root: str) -> None:
        self.folder = os.path.join(root, FRAMES)

    def expire(self, days: float) -> int:
        """Remove what is too old, or damaged; returns the folder's age."""
        if not os.path.isdir(self.folder):
            return 0
        with self.lock():
            return self.sweep(days)[0]

    def listed(self) -> List[Frame]:
        """The frames that there are, oldest first."""
        return sorted(self._frames(_names(self.folder)), key=lambda frame: (frame.came, frame.id))

    def read(self, frame: Frame) -> Optional[Tuple[Dict[str, Any], bytes]]:
        """What is known of a frame, and its bytes; None where it is gone or damaged."""
        try:
            content, said = (read_bytes(self.path(name), LARGEST) for name in (frame.name, _facts(frame.name)))
        except OSError:
            return None
        whole = digest(content) == frame.id and digest(said).startswith(frame.check)
        return (strict_json.loads(said), content) if whole else None

    def remove(self, frames: Iterable[Frame]) -> None:
        """Remove frames."""
        if os.path.isdir(self.folder):
            with self.lock():
                for frame in frames:
                    self.drop(frame)

    def sweep(self, days: float) -> Tuple[int, List[Frame]]:
        """The folder's age, and the frames that stay; what is too old, or no whole frame, is removed."""
        names = _names(self.folder)
        frames = self._frames(names)
        age = age_of(self.path("age.json"), max([frame.came for frame in frames] or [0]))
        named = set(_OWN)
        for frame in frames:
            named.update((frame.name, _facts(frame.name)))
        for name in names - named:  # a program was killed, or the power cut, while it wrote
            remove(self.path(name))
        for frame in frames:
            if age - frame.came > days * _DAY:
                self.drop(frame)
        return age, [frame for frame in frames if age - frame.came <= days * _DAY]

    def _frames(self, names: Any) -> List[Frame]:
        found = []
        for name in names:
            match = _NAME.match(name)
            if match is None or _facts(name) not in names:
                continue
            try:
                size = sum(on_disk(os.lstat(self.path(each)).st_size) for each in (name, _facts(name)))
            except OSError:  # removed meanwhile
                continue
            identity, rank, came, check, _ = match.groups()
            found.append(Frame(identity, int(rank), int(came), check, name, size))
        return found

    def drop(self, frame: Frame) -> None:
        """The facts first: what a power cut leaves of it is no frame."""
        discard(self.path(_facts(frame.name)))
        discard(self.path(frame.name))

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    @contextmanager
    def lock(self) -> Iterator[None]:
        make_folder(self.folder)
        with taken(self.path("lock"), _PATIENCE) as lock:
            if lock is None:
                raise AgentError("the collected frames are in use", "", "run again", "busy")
            yield


def _names(folder: str) -> Any:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def digest(content: bytes) -> str:
    """Hex sha256."""
    return hashlib.sha256(content).hexdigest()


def on_disk(size: int) -> int:
    """Bytes that a file of this size takes."""
    return -(-size // _BLOCK) * _BLOCK


def _facts(name: str) -> str:
    return os.path.splitext(name)[0] + ".json"
