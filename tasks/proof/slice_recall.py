"""How many objects of chosen images a model finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.matching import match
from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import counted
from jetlane.tasks.data.examples import Sample, to_sample
from jetlane.tasks.data.messages import message_class
from jetlane.tasks.data.records import read_records

Array = np.ndarray[Any, Any]
#: An object is found however sure the model is of it, above the threshold.
_ANY_SCORE = 1.0


@dataclass(frozen=True)
class Missed:
    """An object that was not found.

    Attributes:
        image: The image's name.
        label: Number of its class.
        box: xmin, ymin, xmax, ymax in 0..1 of the image.
    """

    image: str
    label: int
    box: tuple[float, ...]


@dataclass(frozen=True)
class Recall:
    """What a model finds in some images.

    Attributes:
        images, objects, found: Numbers.
        missed: Every object that was not found.
    """

    images: int
    objects: int
    found: int
    missed: tuple[Missed, ...]

    @property
    def share(self) -> float:
        """Of the objects, those that were found; 1 where there are none."""
        return self.found / self.objects if self.objects else 1.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "recall": self.share}


def samples_of(records: Iterable[Path], patterns: Mapping[str, Sequence[str]]) -> Iterator[tuple[Sample, list[str]]]:
    """Images that a pattern fits, decoded one at a time, each with the names of its slices.

    Args:
        patterns: By slice, names of images with wildcards (``fnmatch``).
    """
    for image, features in _examples(records):
        slices = _slices(image, patterns)
        if slices:
            yield to_sample(features), slices


def refuse_empty(records: Iterable[Path], patterns: Mapping[str, Sequence[str]]) -> None:
    """Check that each slice has an image; none is decoded.

    Raises:
        DatasetError: One has none.
    """
    names, found = [], set[str]()
    for image, _ in _examples(records):
        names.append(image)
        found.update(_slices(image, patterns))
    for name, wanted in patterns.items():
        if name not in found:
            raise DatasetError(
                f"gate.slices: no validation image is in {name} ({', '.join(wanted)})",
                f"there are {counted(len(names), 'validation image')}, such as {', '.join(names[:3])}",
                "name images of the validation data; `jetlane data show` lists them",
            )


def recall_of(
    samples: Iterable[tuple[Sample, list[str]]],
    detect: Callable[[Array], Detections],
    threshold: float,
    iou: Mapping[str, float],
) -> dict[str, Recall]:
    """What a model finds in each slice; crowds are left out.

    Args:
        detect: Gives the detections in an image, uint8 [H, W, 3] RGB.
        threshold: Detections of at least this score count.
        iou: Least overlap by slice.
    """
    counts = {name: [0, 0] for name in iou}
    lost: dict[str, list[Missed]] = {name: [] for name in iou}
    for sample, slices in samples:
        found = detect(sample.image).above(threshold)
        wanted = ~sample.crowd
        for name in slices:
            hit = _found(sample.boxes[wanted], sample.labels[wanted], found, iou[name])
            counts[name][0] += 1
            counts[name][1] += int(wanted.sum())
            rows = zip(sample.labels[wanted][~hit], sample.boxes[wanted][~hit])
            lost[name] += [Missed(sample.source_id, int(label), tuple(map(float, box))) for label, box in rows]
    return {
        name: Recall(seen, there, there - len(lost[name]), tuple(lost[name])) for name, (seen, there) in counts.items()
    }


def _examples(records: Iterable[Path]) -> Iterator[tuple[str, Any]]:
    """Name and features of every image."""
    for path in records:
        for payload in read_records(path):
            features = message_class("tensorflow.Example").FromString(payload).features.feature
            yield features["image/source_id"].bytes_list.value[0].decode(), features


def _slices(image: str, patterns: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for name, wanted in patterns.items() if any(fnmatchcase(image, pattern) for pattern in wanted)]


def _found(boxes: Array, labels: Array, seen: Detections, iou: float) -> Array:
    """Which objects have a detection of their own, bool [N]."""
    objects = Detections(boxes, labels, np.ones(len(labels), np.float32))
    hit = np.zeros(len(labels), bool)
    hit[[pair[0] for pair in match(objects, seen, iou, _ANY_SCORE).pairs]] = True
    return hit
