"""What a model finds in images without labels, written as labels in the formats of data sets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.data.boxes import Object
from jetlane.tasks.data.evaluation_data import pixels
from jetlane.tasks.data.ingest import PlannedImage
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.models.open_model import OpenModel, refuse_below
from jetlane.tasks.proof.detection_formats import to_coco
from jetlane.tasks.run.counted import Counted

FORMATS = ("coco", "kitti", "voc", "yolo")
RESULTS, DRAWN = "detections.json", "drawn"
#: Gets each image's name, its pixels, what was found in it, and the names of the classes.
OnFound = Callable[[str, np.ndarray[Any, Any], Detections, Mapping[int, str]], None]


@dataclass(frozen=True)
class Found:
    """What was found in images.

    Attributes:
        names: Of the model's classes, by label.
        detections: Of each image.
    """

    images: Sequence[PlannedImage]
    detections: Sequence[Detections]
    names: Mapping[int, str]


def detect(
    model: OpenModel,
    images: Sequence[PlannedImage],
    score: float,
    on_found: Optional[OnFound] = None,
) -> Found:
    """Run a model on images.

    Args:
        score: Least score of detections that are kept.

    Raises:
        JetlaneError: The model gives nothing down to that score.
    """
    refuse_below(model, score)
    waiting: list[np.ndarray[Any, Any]] = []

    def shown() -> Iterator[np.ndarray[Any, Any]]:
        for each in images:
            image = pixels(each)
            waiting.append(image)
            yield image

    found: list[Detections] = []
    for one in Counted("image", len(images))(model.detect(shown())):
        found.append(one.above(score))
        image = waiting.pop(0)
        if on_found is not None:
            on_found(images[len(found) - 1].name, image, found[-1], model.labels or {})
    return Found(images, found, _names(model, found))


def _names(model: OpenModel, found: Sequence[Detections]) -> dict[int, str]:
    if model.labels is not None:
        return dict(model.labels)
    largest = max((int(one.labels.max()) for one in found if len(one)), default=1)
    return {label: f"class-{label}" for label in range(1, (model.num_classes or largest) + 1)}


def write_labels(found: Found, to: str, out: Path) -> None:
    """Write images and detections as a data set in one of ``FORMATS``, into a folder that is there.

    Labels have no scores: see ``write_results``.
    """
    from jetlane.tasks.data import convert

    labelled = [
        replace(image, objects=tuple(_objects(one, found.names))) for image, one in zip(found.images, found.detections)
    ]
    convert.write_labels(labelled, LabelMap(found.names), to, out)


def _objects(found: Detections, names: Mapping[int, str]) -> Iterator[Object]:
    for one in found:
        left, top, right, bottom = (float(edge) for edge in np.clip(one.box, 0.0, 1.0))
        if right > left and bottom > top:
            yield Object((left, top, right, bottom), names.get(one.label, f"class-{one.label}"))


def write_results(found: Found, out: Path) -> None:
    """Write what was found, with scores, as COCO's list of results; ``image_id`` is the image's name."""
    rows: list[dict[str, Any]] = []
    for image, one in zip(found.images, found.detections):
        rows += to_coco(one, image.name, *image.size)
    for row in rows:
        row["category"] = found.names.get(row["category_id"], str(row["category_id"]))
    out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
