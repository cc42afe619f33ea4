"""Record files written in parallel, each by itself: what holds the same images as before is not written again."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.boxes import Object
from jetlane.tasks.data.dataset_model import ImageOrigin
from jetlane.tasks.data.examples import Annotation, to_example
from jetlane.tasks.data.ingest import PlannedImage
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.parallel import in_parallel, workers
from jetlane.tasks.data.pixels import ImageFacts, UnusableImage
from jetlane.tasks.data.records import write_records
from jetlane.tasks.data.uniform import uniform, uniform_size
from jetlane.tasks.run.counted import Counted
from jetlane.tasks.run.digests import digest_of, stamp_of
from jetlane.tasks.run.workspace import code_digest

#: Images of a file at most: one that changed has so many written again.
_IMAGES = 64
#: What shapes the bytes of a record.
CODE = (
    "jetlane.tasks.data.examples",
    "jetlane.tasks.data.messages",
    "jetlane.tasks.data.orientation",
    "jetlane.tasks.data.pixels",
    "jetlane.tasks.data.records",
    "jetlane.tasks.data.shards",
    "jetlane.tasks.data.uniform",
)


@dataclass(frozen=True)
class ShardItem:
    """An image of a shard, with all that its record is made of."""

    name: str
    origin: ImageOrigin
    facts: ImageFacts
    objects: tuple[Object, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class _Job:
    path: Path
    items: tuple[ShardItem, ...]
    max_side: Optional[int]


def write_split(
    images: Sequence[PlannedImage],
    labels: LabelMap,
    max_side: Optional[int],
    out: Path,
    split: str,
    state: Optional[Path] = None,
) -> list[str]:
    """Write the record files of a split.

    Args:
        images: Of this split.
        out: The folder to write into.
        state: A folder that keeps the files for the next time, as links to the same bytes; others of this split that
            are in it are removed.

    Returns:
        Names of the files in ``out``.

    Raises:
        DatasetError: An image is no longer what it was when it was looked at.
    """
    count = shard_count(len(images))
    code, ids = code_digest(CODE), labels.ids
    jobs, names, keys = [], [], []
    kept = state / "shards" if state is not None else None
    for index, group in enumerate(_shards(images, count)):
        name = f"{split}.record-{index:05d}-of-{count:05d}"
        classes = {item.label: ids[item.label] for each in group for item in each.objects}
        content = " ".join(each.content for each in group)
        key = f"{split}-{digest_of([max_side, code, classes, content])[:32]}"
        names.append(name)
        keys.append(key)
        if not (kept is not None and _reuse(kept, key, out / name)):
            jobs.append(_Job(out / name, tuple(items_of(group, labels)), max_side))
    list(Counted(f"{split} file", len(jobs))(in_parallel(_write, jobs, min(workers(), len(jobs)))))
    if kept is not None:
        written = {job.path for job in jobs}
        _keep(kept, split, {key: out / name for name, key in zip(names, keys)}, written)
    return names


def shard_count(images: int) -> int:
    """Files of a split: a power of two, so that a growing set keeps its division for long."""
    count = 1
    while images > count * _IMAGES and count < 1024:
        count *= 2
    return count


def _shards(images: Sequence[PlannedImage], count: int) -> Iterator[list[PlannedImage]]:
    """The images of each file: by the digest of their names, which is as good as shuffled and stays the same."""
    groups: list[list[tuple[bytes, PlannedImage]]] = [[] for _ in range(count)]
    for image in images:
        digest = hashlib.sha256(image.name.encode("utf-8", "surrogateescape")).digest()
        groups[int.from_bytes(digest[:8], "big") % count].append((digest, image))
    for group in groups:
        group.sort(key=lambda entry: entry[0])
        yield [each for _, each in group]


def items_of(images: Sequence[PlannedImage], labels: LabelMap) -> list[ShardItem]:
    """Images with the numbers of their classes."""
    ids = {name: number for number, name in labels.names.items()}
    return [
        ShardItem(
            each.name, each.image.origin, each.facts, each.objects, tuple(ids[item.label] for item in each.objects)
        )
        for each in images
    ]


def _reuse(kept: Path, key: str, path: Path) -> bool:
    """Link a file that was kept, unless it was touched since."""
    stamp = stamp_of(kept / key)
    try:
        noted = (kept / f"{key}.stamp").read_text()
    except OSError:
        return False
    if stamp is None or noted != _note(stamp):
        return False
    _link(kept / key, path)
    return True


def _keep(kept: Path, split: str, files: Mapping[str, Path], written: Set[Path]) -> None:
    """Keep a split's files by their keys; those that were not written are kept already."""
    kept.mkdir(parents=True, exist_ok=True)
    for old in kept.glob(f"{split}-*"):
        if old.name.partition(".")[0] not in files:
            old.unlink(missing_ok=True)
    for key, path in files.items():
        if path not in written:
            continue
        _link(path, kept / key)
        stamp = stamp_of(kept / key)
        if stamp is not None:
            (kept / f"{key}.stamp").write_text(_note(stamp))


def _note(stamp: Sequence[int]) -> str:
    """Size, time of change and inode; the time of the inode's change goes with every new link."""
    return f"{stamp[0]} {stamp[1]} {stamp[3]}"


def _link(origin: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        target.unlink()
    try:
        os.link(origin, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(origin, target)


def _write(job: _Job) -> int:
    return write_records(job.path, (to_example(annotation(item, job.max_side)) for item in job.items))


def annotation(item: ShardItem, max_side: Optional[int]) -> Annotation:
    """An image as its record has it.

    Raises:
        DatasetError: It is no longer what it was.
    """
    try:
        read = item.origin.read()
        if hashlib.sha256(read).hexdigest() != item.facts.sha256:
            raise UnusableImage("damaged_image", "it changed while the data set was read")
        encoded = uniform(read, item.facts, max_side)
    except ValueError as error:
        raise DatasetError(f"{item.origin.file}: {item.name} cannot be written", str(error), "run again") from error
    width, height = uniform_size(item.facts, max_side)
    return Annotation(
        source_id=item.name,
        encoded=encoded,
        format=item.facts.format,
        height=height,
        width=width,
        boxes=np.array([each.box for each in item.objects], np.float32).reshape(-1, 4),
        labels=np.array(item.labels, np.int32),
        texts=[each.label for each in item.objects],
        difficult=[each.difficult for each in item.objects],
        truncated=[each.truncated for each in item.objects],
        ignored=[each.ignored for each in item.objects],
        sha256=item.facts.sha256 if encoded is read else "",
    )
