"""Mean average precision at IoU 0.5, as COCO computes it: 101 points of recall; boxes around crowds do not count.

For boards, which have no pycocotools.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from .arrays import Array
from .detections import Detections, iou_matrix

_RECALLS = np.linspace(0.0, 1.0, 101)
#: pycocotools counts so many of an image's detections of a class.
_MOST = 100


def mean_average_precision(
    truth: Sequence[Dict[str, Any]], found: Sequence[Detections], min_iou: float = 0.5
) -> Optional[float]:
    """mAP over the classes that the ground truth shows.

    Args:
        truth: Of each image: ``boxes`` [N][4] (xmin, ymin, xmax, ymax), ``labels`` [N], ``crowd`` [N] (may be missing).
        found: Of each image.

    Returns:
        0 to 1; None where there is nothing to find.
    """
    labels = sorted({label for image in truth for label, crowd in zip(image["labels"], _crowd(image)) if not crowd})
    values = [_of_class(truth, found, label, min_iou) for label in labels]
    return float(np.mean(values)) if values else None


def _crowd(image: Dict[str, Any]) -> Sequence[bool]:
    return image.get("crowd") or [False] * len(image["labels"])


def _of_class(truth: Sequence[Dict[str, Any]], found: Sequence[Detections], label: int, min_iou: float) -> float:
    scores: List[Array] = []
    hits: List[Array] = []
    total = 0
    for image, detections in zip(truth, found):
        chosen = detections.labels == label
        boxes, score = detections.boxes[chosen][:_MOST], detections.scores[chosen][:_MOST]
        wanted = np.array(image["labels"], np.int64).reshape(-1) == label
        known = np.array(image["boxes"], np.float64).reshape(-1, 4)[wanted]
        crowd = np.array(_crowd(image), bool).reshape(-1)[wanted]
        counted, hit = _assign(boxes, known, crowd, min_iou)
        scores.append(score[counted])
        hits.append(hit[counted])
        total += int((~crowd).sum())
    order = np.argsort(-np.concatenate(scores), kind="mergesort")
    right = np.cumsum(np.concatenate(hits)[order])
    if not len(right):
        return 0.0
    recall, precision = right / float(total), right / np.arange(1.0, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALLS, side="left")
    return float(np.mean(np.append(precision, 0.0)[np.minimum(places, len(precision))]))


def _assign(boxes: Array, known: Array, crowd: Array, min_iou: float) -> Tuple[Array, Array]:
    """Give each detection, best first, the object it covers most of those left: (does it count, is it right)."""
    counted, hit = np.ones(len(boxes), bool), np.zeros(len(boxes), bool)
    overlap = iou_matrix(boxes, known)
    free = ~crowd
    for row in range(len(boxes)):
        candidates = np.where(free, overlap[row], -1.0)
        if len(candidates) and candidates.max() >= min_iou:
            # of equal ones pycocotools takes the last
            free[len(candidates) - 1 - int(np.argmax(candidates[::-1]))] = False
            hit[row] = True
        elif crowd.any() and _inside(boxes[row], known[crowd]).max() >= min_iou:
            counted[row] = False
    return counted, hit


def _inside(box: Array, crowds: Array) -> Array:
    """How much of a box lies in each crowd's."""
    box = box.astype(np.float64)
    sides = np.clip(np.minimum(box[2:], crowds[:, 2:]) - np.maximum(box[:2], crowds[:, :2]), 0.0, None)
    area = float(np.prod(np.clip(box[2:] - box[:2], 0.0, None)))
    return sides[:, 0] * sides[:, 1] / area if area > 0 else np.zeros(len(crowds))
