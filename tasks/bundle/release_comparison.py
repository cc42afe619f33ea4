"""Two releases side by side: what each is worth by class, and the images in which they differ most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.matching import match
from jetlane.remote.release.folder import Release, read_release
from jetlane.specs.errors import ReleaseError

#: What two models mean by the same object.
_IOU, _ANY_SCORE = 0.5, 1.0


@dataclass(frozen=True)
class Difference:
    """What two models find in an image.

    Attributes:
        image: The user's name of it; where that is not known, its path in the second release.
        both: Objects that both find, with the same class and half of the area in common.
        first, second: Objects that only one of them finds.
        score: Largest difference in score of those that both find.
    """

    image: str
    both: int
    first: int
    second: int
    score: float


@dataclass(frozen=True)
class Comparison:
    """How two releases differ.

    Attributes:
        images: Those that differ, the most different first.
        seen: How many were looked at.
        map50: mAP@0.5 of each on those of them whose objects are known; None where none are.
    """

    images: tuple[Difference, ...]
    seen: int
    map50: Optional[tuple[Optional[float], Optional[float]]]


def compare_releases(first: Path, second: Path) -> Comparison:
    """Run both models, each as its own release says, on the samples of the second one.

    Args:
        first, second: Folders of releases.

    Raises:
        ReleaseError: They know other classes, or one is not whole.
        PreflightError: onnxruntime cannot load a model.
    """
    pair = read_release(first), read_release(second)
    labels = [one.labels for one in pair]
    if labels[0] != labels[1]:
        raise ReleaseError(
            "the two releases know other classes",
            f"{', '.join(labels[0])}; {', '.join(labels[1])}",
            "compare releases of the same classes",
        )
    samples = pair[1].samples
    images = [np.load(pair[1].file(sample.file)) for sample in samples]
    found = [_detect(one, images) for one in pair]
    rows = [differ(sample.origin or sample.file, *sides) for sample, sides in zip(samples, zip(*found))]
    differing = [row for row in rows if row.first or row.second or row.score > 0]
    ordered = sorted(differing, key=lambda row: (row.first + row.second, row.score), reverse=True)
    return Comparison(tuple(ordered), len(rows), _maps(labels[0], [sample.truth for sample in samples], found))


def differ(image: str, one: Detections, other: Detections) -> Difference:
    """What two models find in an image."""
    report = match(one, other, min_iou=_IOU, max_score_difference=_ANY_SCORE)
    largest = report.largest_score_difference or 0.0
    return Difference(image, len(report.pairs), len(report.missing), len(report.surplus), round(largest, 4))


def _detect(release: Release, images: Sequence[np.ndarray[Any, Any]]) -> list[Detections]:
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    params = PluginParams.from_json(json.loads(release.file("plugins.json").read_text()))
    detector = OnnxDetector(release.file("model.onnx").read_bytes(), params.input)
    return [detector.detect(image) for image in images]


def _maps(
    labels: Sequence[str], truth: Sequence[Any], found: Sequence[Sequence[Detections]]
) -> Optional[tuple[Optional[float], Optional[float]]]:
    from jetlane.tasks.proof.coco_map import GroundTruth, mean_average_precision

    known = [index for index, one in enumerate(truth) if one is not None]
    if not known:
        return None
    names = dict(enumerate(labels, start=1))
    objects = [GroundTruth.from_json(truth[index]) for index in known]
    maps = [mean_average_precision(objects, [one[index] for index in known], names)["mAP@0.5"] for one in found]
    return maps[0], maps[1]
