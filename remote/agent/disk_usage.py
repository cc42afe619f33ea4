"""How much of the disk the agent's folder takes and may still take; the logs in it are few."""

import os
import re
from typing import Any

from .safe_files import make_folder, remove
from .strict_json import is_whole

#: Folder of the frames that programs keep, see ``collect.frames``.
FRAMES = "collected"
#: Logs that are kept, of each kind: build, activate, rollback, health.
LOGS = 10


def free_bytes(root: str, quota: Any) -> int:
    """Bytes that may still be written under a folder: what the disk has, or what the quota (bytes, or None) leaves."""
    disk = os.statvfs(root)
    free = disk.f_bavail * disk.f_frsize
    return min(free, max(quota - used_bytes(root), 0)) if is_whole(quota) else free


def used_bytes(root: str) -> int:
    """Bytes of the disk that the agent's folder takes; a file with several names is counted once.

    Collected frames have a quota of their own: they must not stand in the way of a delivery.
    """
    found = {}
    for folder, below, names in os.walk(root):
        if folder == root and FRAMES in below:
            below.remove(FRAMES)
        for name in names:
            try:
                entry = os.lstat(os.path.join(folder, name))
            except OSError:
                continue
            found[entry.st_ino] = entry.st_blocks * 512
    return sum(found.values())


def new_log(folder: str, about: str) -> str:
    """Path of a new log, numbered; the oldest logs about the same are removed."""
    make_folder(folder)
    names = sorted(name for name in os.listdir(folder) if re.match(r"[0-9]{6}-", name))
    alike = [name for name in names if name[6:] == "-%s.txt" % about]
    for name in alike[: max(len(alike) - LOGS + 1, 0)]:
        remove(os.path.join(folder, name))
    number = int(names[-1][:6]) + 1 if names else 1
    return os.path.join(folder, "%06d-%s.txt" % (number, about))
