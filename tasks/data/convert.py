"""A data set in one format, written in another."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.detect import detect_format
from jetlane.tasks.data.findings import DROP, STRICT, WARN
from jetlane.tasks.data.ingest import Plan, PlannedImage, plan
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.readers.formats import FORMATS
from jetlane.tasks.data.source import LabelledSource, default_policy
from jetlane.tasks.data.splits import SplitOptions
from jetlane.tasks.data.writers.layout import named

TARGETS = ("voc", "coco", "kitti", "yolo", "tfrecord")
#: A conversion keeps what training would not want: copies, both sides of a scene.
_KEPT = ("duplicate_image", "in_both_splits", "same_scene", "no_box", "tiny", "conflicting_boxes")


def convert(place: Path, out: Path, to: str, given: Optional[str] = None) -> tuple[Plan, Mapping[str, str]]:
    """Read a data set and write it into a new folder: images upright and of kinds that all tools read, boxes inside
    their image. Splits that the source has are kept, none are made.

    Args:
        to: One of ``TARGETS``.
        given: The source's format; found out where it is None.

    Returns:
        What was read, with all findings, and the policy that was followed.

    Raises:
        DatasetError: The format is not known, the folder is there, or no image can be used.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already", "a data set is written into a new folder", "name another folder")
    name = given or format_of(place)
    shown = f"{name}: {place.name}"
    source = as_it_is([(name, Place(place, shown=shown))])
    made = plan(source)
    if not made.images:
        first = made.findings[0] if made.findings else None
        why = f"{first.where}: {first.message}" if first else ""
        raise DatasetError(f"no image of {place} can be used", why, "`jetlane data check` lists what is wrong")
    write_new(out, to, made.images, made.labels)
    return made, source.policy


def as_it_is(places: Sequence[tuple[str, Place]], asked: Optional[Mapping[str, str]] = None) -> LabelledSource:
    """Labelled images for a copy of them: every class, nothing divided; what cannot be used is left out.

    Args:
        asked: What is done about each kind of finding; as where nothing is said unless given.
    """
    policy = {kind: DROP if done == STRICT else done for kind, done in (asked or default_policy()).items()}
    policy.update(dict.fromkeys(_KEPT, WARN))
    return LabelledSource(places, policy=policy, splits=SplitOptions(validation=0.0))


def write_new(out: Path, to: str, images: Sequence[PlannedImage], labels: LabelMap) -> None:
    """Write a data set into a folder that is there when it is whole.

    Args:
        out: It may be there if it is empty.
    """
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        importlib.import_module(f"jetlane.tasks.data.writers.{to}").write(named(images, labels), part)
        if out.exists():
            out.rmdir()
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def format_of(place: Path) -> str:
    """The format that a folder or file is in.

    Raises:
        DatasetError: It is not there, or in none that is known.
    """
    if not place.exists():
        raise DatasetError(f"{place} is not there", "", "check the path")
    found = detect_format(place)
    if not found:
        known = "\n".join(f"{each.name}: {each.layout}" for each in FORMATS.values())
        raise DatasetError(f"{place} is in no format that is known", known, "name it with --from")
    return found[0].format
