"""Average precision as the Pascal VOC challenges measure it: of 2007 (eleven recalls) and of 2010 (the whole area).

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 88 (2010), sections 4.2 and 4.4, and the
development kit's VOCevaldet.m: detections of all images, the surest first; each belongs to the object that it covers
most, and is right if IoU is at least 0.5 and no surer one was; objects marked difficult, and what belongs to them, do
not count. 2007: the mean, at recalls 0, 0.1, ..., 1, of the best precision at that recall or a higher one. From 2010
on: the area below the precision that is made to fall. The kit measures boxes in whole pixels, edges included; here, as
in the Object Detection API and in COCO's tools, edges are edges, and what else lies in a crowd does not count.
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
        wanted, chosen = image.labels == label, detections.labels == label
        if not wanted.any() and not chosen.any():
            continue
        crowd, difficult = (_marks(mark, image)[wanted] for mark in (image.crowd, image.difficult))
        boxes, objects = detections.boxes[chosen], image.boxes[wanted]
        counted, hit = _assigned(boxes, objects[~crowd], difficult[~crowd])
        counted &= hit | ~(_covered(boxes, objects[crowd]) >= _IOU).any(axis=1)
        scores.append(detections.scores[chosen][counted])
        right.append(hit[counted])
        total += int((~crowd & ~difficult).sum())
    if not total:
        return VocAP(None, None)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _average(np.concatenate(right)[order], total)


def _marks(given: Optional[Array], image: GroundTruth) -> Array:
    return np.zeros(len(image.labels), bool) if given is None else given


def _assigned(boxes: Array, objects: Array, difficult: Array) -> tuple[Array, Array]:
    """Of detections, the surest first: (does it count, is it right)."""
    counted, hit = np.ones(len(boxes), bool), np.zeros(len(boxes), bool)
    taken = np.zeros(len(objects), bool)
    for row, overlap in enumerate(iou_matrix(boxes, objects)):
        best = int(overlap.argmax()) if len(objects) else -1
        if best >= 0 and overlap[best] >= _IOU:
            counted[row] = not difficult[best]
            hit[row] = counted[row] and not taken[best]
            taken[best] = True
    return counted, hit


def _covered(boxes: Array, crowds: Array) -> Array:
    """The share of each box that lies in each crowd: [boxes, crowds]."""
    first, second = boxes.astype(np.float64)[:, None], crowds.astype(np.float64)[None]
    sides = np.clip(np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]), 0, None)
    area: Array = sides.prod(axis=2) / np.maximum((first[..., 2:] - first[..., :2]).prod(axis=2), 1e-12)
    return area


def _average(right: Array, total: int) -> VocAP:
    """Of detections in the order of their scores, and the number of objects."""
    hits = np.cumsum(right)
    recall, precision = hits / total, hits / np.arange(1.0, len(right) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]  # at that recall or a higher one
    eleven = np.mean([best[recall >= at].max(initial=0.0) for at in _ELEVEN])
    area = np.sum(np.diff(recall, prepend=0.0) * best)
    return VocAP(float(eleven), float(area))
