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
from jetlane.specs.errors import ReleaseError
from jetlane.tasks.bundle.release_list import KnownRelease

#: What two models mean by the same object.
_IOU, _ANY_SCORE = 0.5, 1.0
_MODEL = "model.onnx"


@dataclass(frozen=True)
class Difference:
    """What two models find in an image.

    Attributes:
        image: Path of the sample in the second release.
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


def compare_releases(first: KnownRelease, second: KnownRelease) -> Comparison:
    """Run both models, each as its own release says, on the samples of the second one.

    Raises:
        ReleaseError: They know other classes, or a file of theirs is missing.
        PreflightError: onnxruntime cannot load a model.
    """
    labels = [_manifest(one)["labels"] for one in (first, second)]
    if labels[0] != labels[1]:
        raise ReleaseError(
            "the two releases know other classes",
            f"{', '.join(labels[0])}; {', '.join(labels[1])}",
            "compare releases of the same classes",
        )
    files, truth = _samples(second)
    images = [np.load(second.path / file) for file in files]
    found = [_detect(one, images) for one in (first, second)]
    rows = [_difference(file, *pair) for file, pair in zip(files, zip(*found))]
    differing = [row for row in rows if row.first or row.second or row.score > 0]
    ordered = sorted(differing, key=lambda row: (row.first + row.second, row.score), reverse=True)
    return Comparison(tuple(ordered), len(files), _maps(labels[0], truth, found))


def _detect(release: KnownRelease, images: Sequence[np.ndarray[Any, Any]]) -> list[Detections]:
    from jetlane.tasks.converter.ssd.params import PluginParams
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    params = PluginParams.from_json(_json(release, "plugins.json"))
    with _whole(release, _MODEL).open("rb") as file:
        detector = OnnxDetector(file.read(), params.input)
    return [detector.detect(image) for image in images]


def _difference(file: str, one: Detections, other: Detections) -> Difference:
    report = match(one, other, min_iou=_IOU, max_score_difference=_ANY_SCORE, threshold=0.0)
    largest = report.largest_score_difference or 0.0
    return Difference(file, len(report.pairs), len(report.missing), len(report.surplus), round(largest, 4))


def _samples(release: KnownRelease) -> tuple[list[str], list[Any]]:
    """Files of the samples, and the truth of each, None where it is not known."""
    samples = _json(release, "expected.json")["samples"]
    return [sample["file"] for sample in samples], [sample.get("truth") for sample in samples]


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


def _manifest(release: KnownRelease) -> Any:
    return _json(release, "manifest.json")


def _json(release: KnownRelease, name: str) -> Any:
    try:
        return json.loads(_whole(release, name).read_text())
    except ValueError as error:
        raise ReleaseError(f"{release.id}: {name} is damaged", str(error), "make the release again") from None


def _whole(release: KnownRelease, name: str) -> Path:
    path = release.path / name
    if not path.exists():
        raise ReleaseError(
            f"{release.id} has no {name}", "its files are gone, or it is of an early version", "run again"
        )
    return path
