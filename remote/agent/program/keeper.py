"""Keeps frames within their quota: the most uncertain ones, and among these the newest."""

import json
import os
from typing import Any, Dict, List

from ..collect.frames import LARGEST, MOST, Frame, Frames, digest, on_disk
from ..safe_files import write_bytes
from .encode import kind_of

#: Share of the disk that stays free whatever the quota.
_SPARE = 0.05
#: What a json holds, beside the kind. Releases carry this: a later agent has to read it, too.
FACTS = ("height", "width", "release", "classes", "reason", "rank", "found")


class Keeper(Frames):
    """The folder of frames, for a program that adds some."""

    def keep(self, content: bytes, facts: Dict[str, Any], quota: int, days: float) -> bool:
        """Keep a frame, in the place of less uncertain ones where there is no room.

        Args:
            content: A JPEG or PNG file.
            facts: What is said of it, beside its digest, size and kind: ``FACTS``.

        Returns:
            Whether it is kept: not if it is there already, or all others are more uncertain.

        Raises:
            AgentError: The folder is not the agent's, or it is in use for too long.
            OSError: It cannot be written.
        """
        identity, kind = digest(content), kind_of(content)
        if kind is None or len(content) > LARGEST:
            return False
        rank = round(1000 * min(max(facts["rank"], 0.0), 1.0))
        said = json.dumps(dict(facts, kind=kind), sort_keys=True).encode("utf-8")
        with self.lock():
            age, there = self.sweep(days)
            needed = on_disk(len(content)) + on_disk(len(said))
            if any(frame.id == identity for frame in there) or not self._make_room(there, rank, needed, quota):
                return False
            stem = "%s.%04d.%d.%s" % (identity, rank, age, digest(said)[:8])
            write_bytes(self.path("%s.%s" % (stem, kind)), content)
            write_bytes(self.path(stem + ".json"), said)
        return True

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
            self.drop(frame)
        return True
