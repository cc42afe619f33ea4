"""A data set in one format, written in another."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.classes import ClassRules
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
    with new_folder(out) as part:
        source, made = read_whole(place, given)
        write_labels(made.images, made.labels, to, part)
    return made, source.policy


def write_labels(images: Sequence[PlannedImage], labels: LabelMap, to: str, out: Path) -> None:
    """Write images with their objects into a folder that is there, in one of ``TARGETS``."""
    importlib.import_module(f"jetlane.tasks.data.writers.{to}").write(named(images, labels), out)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes ``out`` when all went well; else nothing is left of it.

    Raises:
        DatasetError: ``out`` is there, and no empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already", "it is written as a new folder", "name another folder")
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        if out.exists():
            out.rmdir()
        os.replace(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_whole(
    place: Path, given: Optional[str] = None, classes: Optional[ClassRules] = None
) -> tuple[LabelledSource, Plan]:
    """Read a data set as it is: what cannot be used is left out, all else is kept; splits are those that it has.

    Args:
        given: Its format; found out where it is None.

    Raises:
        DatasetError: The format is not known, or no image can be used.
    """
    source = as_it_is([place_of(place, given)], classes=classes)
    made = plan(source)
    if not made.images:
        first = made.findings[0] if made.findings else None
        why = f"{first.where}: {first.message}" if first else ""
        raise DatasetError(f"no image of {place} can be used", why, "`jetlane data check` lists what is wrong")
    return source, made


def as_it_is(
    places: Sequence[tuple[str, Place]],
    asked: Optional[Mapping[str, str]] = None,
    classes: Optional[ClassRules] = None,
) -> LabelledSource:
    """Labelled images as they are: nothing divided, every class unless asked; what cannot be used is left out.

    Args:
        asked: What is done about each kind of finding; as where nothing is said unless given.
    """
    policy = {kind: DROP if done == STRICT else done for kind, done in (asked or default_policy()).items()}
    policy.update(dict.fromkeys(_KEPT, WARN))
    return LabelledSource(places, classes=classes or ClassRules(), policy=policy, splits=SplitOptions(validation=0.0))


def place_of(place: Path, given: Optional[str] = None) -> tuple[str, Place]:
    """A folder or file as a source: (its format, found out where none is given; the place).

    Raises:
        DatasetError: It is not there, or in no format that is known.
    """
    name = given or _format(place)
    return name, Place(place, shown=f"{name}: {place.name}")


def _format(place: Path) -> str:
    if not place.exists():
        raise DatasetError(f"{place} is not there", "", "check the path")
    found = detect_format(place)
    if not found:
        known = "\n".join(f"{each.name}: {each.layout}" for each in FORMATS.values())
        raise DatasetError(f"{place} is in no format that is known", known, "name it with --from")
    return found[0].format
