"""Where images are kept that `jetlane data add` brought: ``<workspace>/added/<project>/<time>``, a COCO folder each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.support.local_files import read_json
from jetlane.tasks.data.dataset_model import Place

FORMAT = "coco"
_FOLDER = "added"
#: In a batch's folder, hidden from readers: where its images come from, and what they were there.
ORIGIN = ".origin.json"


def added_folder(root: Path, name: str) -> Path:
    """The folder of a project's batches.

    Args:
        root: The workspace's folder.
        name: The project's.
    """
    return root / _FOLDER / name


def batches(root: Path, name: str) -> list[Path]:
    """The folders of what was added, the oldest first."""
    return sorted(added_folder(root, name).glob("[0-9]*"))


def added_places(root: Path, name: str) -> list[tuple[str, Place]]:
    """What was added, as sources of the data set."""
    return [(FORMAT, Place(batch, shown=f"added: {batch.name}")) for batch in batches(root, name)]


def known_originals(root: Path, name: str) -> Iterator[str]:
    """sha256 of the images as they were before they were added; some are kept in another form."""
    for batch in batches(root, name):
        origin: Any = read_json(batch / ORIGIN)
        if isinstance(origin, dict) and isinstance(origin.get("sha256"), list):
            yield from map(str, origin["sha256"])


def new_batch(folder: Path, now: Optional[float] = None) -> Path:
    """The folder of a further batch; it is not made."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    names = (stamp, *(f"{stamp}-{number}" for number in range(2, 1000)))
    return next(folder / name for name in names if not (folder / name).exists())
