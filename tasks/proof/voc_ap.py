"""Average precision as the Pascal VOC challenges measure it: of 2007 (eleven recalls) and of 2010 (the whole area).

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88 (2010), sections 4.2 and 4.4, and the
development kit's VOCevaldet.m: detections of all images, the surest first; each belongs to the object that it covers
most, and is right if IoU is at least 0.5 and no surer one was; objects marked difficult, and what belongs to them, do
not count. 2007: the mean, at recalls 0, 0.1, ..., 1, of the best precision at that recall or a higher one. From 2010
on: the area below the precision that is made to fall. The kit measures boxes in whole pixels, edges included; here, as
in the Object Detection API and in COCO's tools, edges are edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections, iou_matrix
from jetlane.tasks.proof.coco_map import GroundTruth

Array = np.ndarray[Any, Any]
_IOU = 0.5
_ELEVEN = np.linspace(0.0, 1.0, 11)


@dataclass(frozen=True)
class VocAP:
    """Of one class, or the mean of several; None where there is no object to find."""

    eleven: Optional[float]
    area: Optional[float]


def average_precisions(
    truth: Sequence[GroundTruth], found: Sequence[Detections], names: Mapping[int, str]
) -> tuple[VocAP, dict[str, VocAP]]:
    """The mean over the classes that have objects, and every class by its name.

    Args:
        found: Of each image.
        names: Of the classes, by label.
    """
    classes = {name: _of_class(truth, found, label) for label, name in names.items()}
    known = [one for one in classes.values() if one.area is not None]
    if not known:
        return VocAP(None, None), classes
    return VocAP(*(float(np.mean([getattr(one, kind) for one in known])) for kind in ("eleven", "area"))), classes


def _of_class(truth: Sequence[GroundTruth], found: Sequence[Detections], label: int) -> VocAP:
    scores, right, total = [np.zeros(0)], [np.zeros(0, bool)], 0
    for image, detections in zip(truth, found):
        wanted = image.labels == label
        counts = ~_ignored(image)[wanted]
        chosen = detections.labels == label
        counted, hit = _assigned(detections.boxes[chosen], image.boxes[wanted], counts)
        scores.append(detections.scores[chosen][counted])
        right.append(hit[counted])
        total += int(counts.sum())
    if not total:
        return VocAP(None, None)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _average(np.concatenate(right)[order], total)


def _ignored(image: GroundTruth) -> Array:
    none = np.zeros(len(image.labels), bool)
    marks = [mark if mark is not None else none for mark in (image.crowd, image.difficult)]
    ignored: Array = marks[0] | marks[1]
    return ignored


def _assigned(boxes: Array, objects: Array, counts: Array) -> tuple[Array, Array]:
    """Of detections, the surest first: (does it count, is it right)."""
    counted, hit = np.ones(len(boxes), bool), np.zeros(len(boxes), bool)
    taken = np.zeros(len(objects), bool)
    for row, overlap in enumerate(iou_matrix(boxes, objects)):
        best = int(overlap.argmax()) if len(objects) else -1
        if best < 0 or overlap[best] < _IOU:
            continue
        counted[row] = counts[best]
        hit[row] = counts[best] and not taken[best]
        taken[best] = True
    return counted, hit


def _average(right: Array, total: int) -> VocAP:
    """Of detections in the order of their scores, and the number of objects."""
    hits = np.cumsum(right)
    recall, precision = hits / total, hits / np.arange(1.0, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at that recall or a higher one
    eleven = np.mean([best[recall >= at].max(initial=0.0) for at in _ELEVEN])
    area = np.sum(np.diff(recall, prepend=0.0) * best)
    return VocAP(float(eleven), float(area))
