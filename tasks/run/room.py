"""How much room a workspace takes, by kinds of things."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jetlane.tasks.run.retention import GONE, step_folders

#: Kind -> the steps whose folders it means.
_STEPS = {
    "records": ("dataset",),
    "checkpoints": ("train", "prune", "retrain"),
    "models": ("export", "freeze", "plugins", "convert", "quantize"),
    "checks": ("anchors", "evaluate", "baseline", "preflight"),
    "releases": ("release",),
    "reports": ("report",),
}
_OTHER_STEPS, _UNFINISHED = "other steps", "cut or damaged steps"
#: Kind -> entries of the workspace; whatever is in none is ``notes and keys``.
_PLACES = {
    "records": ("data",),
    "added images": ("added", "watched"),
    "logs": ("logs",),
    "virtual Jetsons": ("virtual",),
    "TensorRT here": ("tensorrt",),
    "Prefect's servers": ("prefect", "up"),
    "the ledger": ("fleet.db", "fleet.db-wal", "fleet.db-shm"),
}
_REST = "notes and keys"


@dataclass
class Room:
    """What one kind of things takes.

    Attributes:
        items: How many there are.
        size: Bytes on the disk.
    """

    kind: str
    items: int = 0
    size: int = 0


class Sizes:
    """Bytes on the disk; a file that has several names is counted once."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, int]] = set()

    def of(self, path: Path) -> int:
        """Of a file, or a folder and all in it; links are not followed. What vanishes meanwhile counts nothing."""
        return sum(self._own(Path(each)) for each in _walk(path))

    def _own(self, path: Path) -> int:
        try:
            found = path.lstat()
        except OSError:
            return 0
        if (found.st_dev, found.st_ino) in self._seen:
            return 0
        self._seen.add((found.st_dev, found.st_ino))
        return found.st_blocks * 512


def rooms(root: Path) -> list[Room]:
    """The kinds of things in a workspace, each once, also those of which there are none."""
    found = {kind: Room(kind) for kind in (*_STEPS, _OTHER_STEPS, _UNFINISHED, *_PLACES, _REST)}
    sizes = Sizes()
    for kind, path in _things(root):
        found[kind].items += 1
        found[kind].size += sizes.of(path)
    return list(found.values())


def kind_of(relative: Path) -> str:
    """The kind of a thing, by its path below the workspace."""
    if relative.parts[:1] == ("steps",) and len(relative.parts) == 3:
        name = relative.parts[2]
        if name.endswith((".part", ".damaged")) or GONE in name:
            return _UNFINISHED
        return next((kind for kind, steps in _STEPS.items() if relative.parts[1] in steps), _OTHER_STEPS)
    return next((kind for kind, places in _PLACES.items() if relative.parts[0] in places), _REST)


def _things(root: Path) -> Iterator[tuple[str, Path]]:
    for path in step_folders(root):
        yield kind_of(path.relative_to(root)), path
    for path in sorted(root.glob("*")):
        if path.name in ("steps", "releases"):
            continue
        inside = sorted(path.glob("*")) if path.is_dir() and not path.is_symlink() else [path]
        for one in inside:
            yield kind_of(one.relative_to(root)), one


def _walk(path: Path) -> Iterator[str]:
    yield str(path)
    if path.is_symlink() or not path.is_dir():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            yield os.path.join(folder, name)
