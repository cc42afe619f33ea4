"""What a model is worth on labelled images: COCO's and Pascal VOC's figures, curves, and where it is wrong."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.models.voc_ap import VocAP, average_precisions
from jetlane.tasks.odapi.child.coco_detail import detail
from jetlane.tasks.proof.coco_map import GroundTruth, on_average

#: COCO's twelve numbers under the names that the Object Detection API gives them, in pycocotools' order.
COCO = (
    "Precision/mAP",
    "Precision/mAP@.50IOU",
    "Precision/mAP@.75IOU",
    "Precision/mAP (small)",
    "Precision/mAP (medium)",
    "Precision/mAP (large)",
    "Recall/AR@1",
    "Recall/AR@10",
    "Recall/AR@100",
    "Recall/AR@100 (small)",
    "Recall/AR@100 (medium)",
    "Recall/AR@100 (large)",
)


@dataclass(frozen=True)
class ClassMetrics:
    """One class; None where it has no object.

    Attributes:
        ap, ap50: COCO's, over IoU 0.5 to 0.95, and at 0.5.
        voc: Pascal VOC's.
    """

    objects: int
    ap: Optional[float]
    ap50: Optional[float]
    voc: VocAP


@dataclass(frozen=True)
class Metrics:
    """What detections are worth.

    Attributes:
        coco: COCO's twelve numbers by the names of ``COCO``; None where no object is of that size.
        voc: Means over the classes.
        classes: By name.
        curves: See ``coco_detail.detail``.
    """

    coco: Mapping[str, Optional[float]]
    voc: VocAP
    classes: Mapping[str, ClassMetrics]
    curves: Mapping[str, Any]

    @property
    def map(self) -> Optional[float]:
        return self.coco[COCO[0]]

    @property
    def map50(self) -> Optional[float]:
        return self.coco[COCO[1]]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Mistakes:
    """What is wrong in one image, from a score on.

    Attributes:
        image: Its place.
        missed: Objects that are not found.
        false_alarms: Detections of what is not there, or is there already found.
    """

    image: int
    missed: int
    false_alarms: int


def measure(
    evaluation: Any, truth: Sequence[GroundTruth], found: Sequence[Detections], names: Mapping[int, str]
) -> Metrics:
    """All figures of all detections.

    Args:
        evaluation: What ``coco_map.evaluated`` gives of the same.
        found: Of each image.
        names: Of the classes, by label.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it prints them
        evaluation.summarize()
    coco = {name: None if value < 0 else float(value) for name, value in zip(COCO, evaluation.stats)}
    per_class = on_average(evaluation, names)["per_class"]
    mean, voc = average_precisions(truth, found, names)
    classes = {
        name: ClassMetrics(_objects(truth, label), per_class[name]["AP"], per_class[name]["AP@0.5"], voc[name])
        for label, name in names.items()
    }
    return Metrics(coco, mean, classes, detail(evaluation, dict(names), 1.0)["curves"])


def _objects(truth: Sequence[GroundTruth], label: int) -> int:
    crowds = [np.zeros(len(image.labels), bool) if image.crowd is None else image.crowd for image in truth]
    return sum(int(((image.labels == label) & ~crowd).sum()) for image, crowd in zip(truth, crowds))


def wrong(
    evaluation: Any, images: int, names: Mapping[int, str], score: float
) -> tuple[dict[str, Any], list[Mistakes]]:
    """What is taken for what (see ``coco_detail.confusion``), and the images with mistakes, the worst first.

    Args:
        evaluation: What ``coco_map.evaluated`` gives of the detections from ``score`` on, in so many images.
        score: Least score of detections that count.
    """
    missed, false = np.zeros(images, int), np.zeros(images, int)
    any_size = list(evaluation.params.areaRng[0])
    for one in evaluation.evalImgs:
        if one is None or one["aRng"] != any_size:
            continue
        least_iou = 0  # the first of its thresholds
        missed[one["image_id"]] += int(((one["gtMatches"][least_iou] == 0) & (one["gtIgnore"] == 0)).sum())
        alarms = (one["dtMatches"][least_iou] == 0) & (one["dtIgnore"][least_iou] == 0)
        false[one["image_id"]] += int(alarms.sum())
    order = sorted(np.flatnonzero(missed + false).tolist(), key=lambda image: -(missed[image] + false[image]))
    rows = [Mistakes(image, int(missed[image]), int(false[image])) for image in order]
    return detail(evaluation, dict(names), score)["confusion"], rows
