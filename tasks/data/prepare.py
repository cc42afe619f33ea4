"""From a data set's description to record files, a label map and statistics."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data import shapes
from jetlane.tasks.data.check import SeenRecords, checked_file
from jetlane.tasks.data.examples import to_example
from jetlane.tasks.data.ingest import LABEL_MAP, SPLITS, Plan
from jetlane.tasks.data.labels import LabelMap, read_label_map
from jetlane.tasks.data.many_values import many_values
from jetlane.tasks.data.records import write_records
from jetlane.tasks.data.shards import write_split
from jetlane.tasks.data.source import LabelledSource, RecordFiles, SyntheticSource
from jetlane.tasks.data.split_stats import SplitStats
from jetlane.tasks.run.counted import Counted
from jetlane.tasks.run.workspace import digest_of, sha256_file, write_atomic

STATS = "stats.json"
#: Boxes that are trained on, for looking at anchors: float32 [N, 6], see ``PlacedBoxes``.
BOXES = "boxes.npy"


def fingerprint(dataset: Union[SyntheticSource, RecordFiles]) -> str:
    """Digest of what a data set holds: the parameters of a synthetic one, the bytes of every file of a user's own.

    Where the files lie and what they are called does not count; their order does.

    Raises:
        DatasetError: A file is missing.
    """
    if isinstance(dataset, SyntheticSource):
        return digest_of({"shapes": dataset, "version": shapes.VERSION})
    try:
        content = {split: [sha256_file(Path(path)) for path in getattr(dataset, split)] for split in SPLITS}
        label_map = sha256_file(Path(dataset.label_map))
        return digest_of({"records": content, "label_map": label_map, "max_side": dataset.max_side})
    except OSError as error:
        raise DatasetError(
            f"{error.filename} cannot be read", error.strerror or "", "check the path in the data set's spec"
        ) from error


def plan_fingerprint(made: Plan, max_side: Optional[int]) -> str:
    """Digest of a plan: the bytes of every image, its name, split and objects, and the classes. Where the files lie and
    which format labels are in does not count.
    """
    content = "\n".join(f"{each.split} {each.content}" for each in made.images)
    return digest_of({"images": content, "labels": made.labels.text(), "max_side": max_side})


def prepare(dataset: Union[SyntheticSource, RecordFiles], out: Path) -> dict[str, Any]:
    """Write ``train.record-*`` and ``validation.record-*``, ``label_map.pbtxt`` and ``stats.json`` into a folder.

    A user's records are copied, checked and completed on the way (see ``check``), one file for one, so that the
    training depends on nothing outside the workspace.

    Returns:
        ``labels`` ({"1": name, ...}, as people are shown them), ``num_classes`` (of a network trained with it),
        ``train`` and ``validation`` (file names in ``out``; empty where the split was not asked for), ``stats`` (of
        each split), ``dropped`` (always 0: what is wrong is refused), ``boxes`` (a file: see ``BOXES``).

    Raises:
        DatasetError: Something is wrong with the user's records, or a split holds no image.
    """
    labels = (
        LabelMap(shapes.LABELS) if isinstance(dataset, SyntheticSource) else read_label_map(Path(dataset.label_map))
    )
    stats = {split: SplitStats() for split in SPLITS}
    images = Counted("image", _known_images(dataset))
    files: dict[str, list[str]] = {}
    seen = SeenRecords()
    for split in SPLITS:
        shards = _shards(dataset, split, labels, seen, stats[split])
        files[split] = [f"{split}.record-{index:05d}-of-{len(shards):05d}" for index in range(len(shards))]
        for name, payloads in zip(files[split], shards):
            write_records(out / name, images(payloads))
    seen.refuse()
    _refuse_empty(files, stats)
    return _finished(out, labels, files, stats)


@many_values()
def prepare_plan(made: Plan, source: LabelledSource, out: Path, state: Optional[Path] = None) -> dict[str, Any]:
    """The same of labelled images that were read and checked.

    Args:
        state: A folder that keeps record files for the next data set that holds the same images.

    Returns:
        As ``prepare``; ``dropped`` is how many images were left out as wrong, ``findings`` how many of each kind.

    Raises:
        DatasetError: A split holds no image; an image changed since it was looked at.
    """
    stats = {split: SplitStats() for split in SPLITS}
    for each in made.images:
        boxes = [item.box for item in each.objects]
        stats[each.split].add(each.size[1], each.size[0], boxes, [item.label for item in each.objects])
        stats[each.split].turned += each.facts.orientation != 1
    _refuse_empty({split: [split] for split in SPLITS}, stats)
    files = {
        split: write_split(
            [each for each in made.images if each.split == split], made.labels, source.max_side, out, split, state
        )
        for split in SPLITS
    }
    found = Counter(finding.kind for finding in made.findings)
    return _finished(out, made.labels, files, stats, made.dropped["image"], found)


def _finished(
    out: Path,
    labels: LabelMap,
    files: Mapping[str, list[str]],
    stats: Mapping[str, SplitStats],
    dropped: int = 0,
    findings: Optional[Mapping[str, int]] = None,
) -> dict[str, Any]:
    write_atomic(out / LABEL_MAP, labels.text())
    facts: dict[str, Any] = {
        "labels": {str(number): name for number, name in labels.shown.items()},
        "num_classes": labels.num_classes,
        **files,
        "stats": {split: stats[split].to_json() for split in SPLITS if files[split]},
        "dropped": dropped,
        "boxes": BOXES,
    }
    np.save(out / BOXES, stats["train" if files["train"] else "validation"].placed.array())
    if findings is not None:
        facts["findings"] = dict(sorted(findings.items()))
    write_atomic(out / STATS, json.dumps(facts, indent=1, sort_keys=True))
    return facts


def _shards(
    dataset: Union[SyntheticSource, RecordFiles], split: str, labels: LabelMap, seen: SeenRecords, stats: SplitStats
) -> list[Iterator[bytes]]:
    """What goes into each record file of a split; drawn or read only when it is written."""
    if isinstance(dataset, SyntheticSource):
        count = dataset.shards if split == "train" else 1
        return [_drawn(dataset, split, shard, count, stats) for shard in range(count)]
    files = enumerate(getattr(dataset, split))
    return [
        checked_file(Path(path), split, labels, seen, stats, position, dataset.max_side) for position, path in files
    ]


def _known_images(dataset: Union[SyntheticSource, RecordFiles]) -> int:
    """How many a set holds; 0 where that is known when it was read."""
    return dataset.train_images + dataset.validation_images if isinstance(dataset, SyntheticSource) else 0


def _drawn(dataset: SyntheticSource, split: str, shard: int, shards: int, stats: SplitStats) -> Iterator[bytes]:
    for item in shapes.draw_split(dataset, split, shard, shards):
        stats.add(item.height, item.width, item.boxes.tolist(), item.texts)
        yield to_example(item)


def _refuse_empty(files: Mapping[str, list[str]], stats: Mapping[str, SplitStats]) -> None:
    for split in SPLITS:
        if files[split] and not stats[split].images:
            why = "there is no image in it"
            raise DatasetError(f"the {split} split is empty", why, "add images")
    if not any(files.values()):
        raise DatasetError("the data set is empty", "it names no record file", "name train and validation files")
    if files["train"] and not stats["train"].objects:
        raise DatasetError("the train split has no box", "there is nothing to learn from", "add annotated images")
