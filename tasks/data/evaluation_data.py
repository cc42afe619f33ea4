"""Labelled images that a model is evaluated on: the validation set of a spec, or a data set as it lies there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.check import SeenRecords, checked_file
from jetlane.tasks.data.checked import foreseen_plan, source_of
from jetlane.tasks.data.classes import ClassRules
from jetlane.tasks.data.convert import read_whole
from jetlane.tasks.data.detect import detect_format
from jetlane.tasks.data.examples import Sample, decoded, to_example, to_sample
from jetlane.tasks.data.ingest import LABEL_MAP, PlannedImage
from jetlane.tasks.data.labels import LabelMap, read_label_map
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.readers.images import ImageIndex
from jetlane.tasks.data.shapes import LABELS, draw_split
from jetlane.tasks.data.source import DataSource, LabelledSource, RecordFiles, SyntheticSource
from jetlane.tasks.data.split_stats import SplitStats
from jetlane.tasks.data.uniform import uniform

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

_VALIDATION = "validation"
#: Characters of an image's name.
_NAME = 200


@dataclass(frozen=True)
class EvaluationData:
    """Labelled images, read anew each time they are asked for, in the same order.

    Attributes:
        shown: What it is, for people.
        labels: Names of its classes, as people are shown them, by their numbers in it.
        count: Images; None where they are not counted yet.
        left_out: Images that cannot be used.
    """

    shown: str
    labels: Mapping[int, str]
    samples: Callable[[], Iterator[Sample]]
    count: Optional[int] = None
    left_out: int = 0


def of_spec(spec: RunSpec) -> EvaluationData:
    """What a run of a spec, whose paths are absolute, evaluates on: the same images, of the same size.

    Raises:
        DatasetError: It names no data set, or none of it is for validation; or it cannot be read.
    """
    origin = source_of(spec)
    shown = f"the validation set of {spec.name}"
    if isinstance(origin, LabelledSource):
        made = foreseen_plan(spec, origin)
        chosen = [each for each in made.images if each.split == _VALIDATION]
        if not chosen:
            raise DatasetError(f"{shown} is empty", "no image of it can be used", "`jetlane data check` says why")
        return _planned(shown, chosen, made.labels, origin.max_side, made.dropped["image"])
    if isinstance(origin, RecordFiles) and not origin.validation:
        raise DatasetError(f"{shown} is empty", "the spec names no record files of it", "set dataset.validation")
    labels = LabelMap(LABELS) if isinstance(origin, SyntheticSource) else read_label_map(Path(origin.label_map))
    count = origin.validation_images if isinstance(origin, SyntheticSource) else None
    return EvaluationData(shown, labels.shown, lambda: _of_records(origin, labels), count)


def of_folder(place: Path, given: Optional[str] = None) -> EvaluationData:
    """A data set in any format: what it says is for validation (or test), and where it says nothing, all of it.

    Args:
        given: Its format; found out where it is None.

    Raises:
        DatasetError: There is no such place, no labels are in it, or none of its images can be used.
    """
    if not place.exists():
        raise DatasetError(f"{place} is not there", "", "check the path")
    if given is None and not detect_format(place):
        _refuse_unlabelled(place)
    source, made = read_whole(place, given, ClassRules(label_map=_label_map_of(place)))
    told = [each for each in made.images if each.image.split == _VALIDATION]
    if not any(each.objects for each in told or made.images):
        why = "there is nothing to find in them, and so nothing to measure"
        raise DatasetError(f"no image of {place} has an object", why, "`jetlane detect` looks at images without labels")
    shown = source.places[0][1].shown + (f", its {_VALIDATION} split" if told else "")
    return _planned(shown, told or made.images, made.labels, None, made.dropped["image"])


def _refuse_unlabelled(place: Path) -> None:
    images = len(ImageIndex(place).paths) if place.is_dir() else 0
    if images:
        raise DatasetError(
            f"{place} holds {images} images and no labels",
            "a model is measured by what its images really show",
            "`jetlane detect` looks at images without labels; docs/data.md shows the formats of labels",
        )


def _label_map_of(place: Path) -> Optional[LabelMap]:
    """The label map that lies with record files, which numbers their classes; others have names alone."""
    path = (place if place.is_dir() else place.parent) / LABEL_MAP
    return read_label_map(path) if path.is_file() else None


def _planned(
    shown: str, images: Sequence[PlannedImage], labels: LabelMap, max_side: Optional[int], left_out: int
) -> EvaluationData:
    ids = {name: number for number, name in labels.names.items()}

    def samples() -> Iterator[Sample]:
        return (_sample(each, ids, max_side) for each in images)

    return EvaluationData(shown, labels.shown, samples, len(images), left_out)


def _sample(planned: PlannedImage, ids: Mapping[str, int], max_side: Optional[int]) -> Sample:
    objects = planned.objects
    return Sample(
        source_id=harmless(planned.name, _NAME),
        image=pixels(planned, max_side),
        boxes=np.array([item.box for item in objects], np.float32).reshape(-1, 4),
        labels=np.array([ids[item.label] for item in objects], np.int32),
        crowd=np.array([item.ignored for item in objects], bool),
        difficult=np.array([item.difficult for item in objects], bool),
    )


def pixels(planned: PlannedImage, max_side: Optional[int] = None) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An image as it is trained on: upright, uint8 [height, width, 3] RGB.

    Raises:
        DatasetError: It cannot be read any more.
    """
    try:
        return decoded(uniform(planned.image.origin.read(), planned.facts, max_side))
    except ValueError as error:
        raise DatasetError(f"{planned.image.origin.file} cannot be read", str(error), "run again") from error


def _of_records(origin: DataSource, labels: LabelMap) -> Iterator[Sample]:
    seen = SeenRecords()
    for payload in _payloads(origin, labels, seen):
        yield to_sample(message_class("tensorflow.Example").FromString(payload).features.feature)
    seen.refuse()


def _payloads(origin: DataSource, labels: LabelMap, seen: SeenRecords) -> Iterator[bytes]:
    if isinstance(origin, SyntheticSource):
        yield from map(to_example, draw_split(origin, _VALIDATION))
    elif isinstance(origin, RecordFiles):
        for position, path in enumerate(origin.validation):
            yield from checked_file(Path(path), _VALIDATION, labels, seen, SplitStats(), position, origin.max_side)
