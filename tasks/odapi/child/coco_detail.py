"""What a COCO evaluation knows beyond its averages: precision by recall of each class, and what is taken for what.

It takes a ``pycocotools`` ``COCOeval`` after ``accumulate`` and needs numpy alone, so it serves both processes.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

#: Least IoU of a detection with what it is counted for, in the confusion matrix.
IOU = 0.5


def detail(evaluation: Any, names: dict[int, str], score: float) -> dict[str, Any]:
    """The curves and the confusion matrix.

    Args:
        names: Category id -> name.
        score: Least score of a detection that counts in the confusion matrix; the curves know no threshold.

    Returns:
        ``curves`` ({name: {"precision": 101 values at recall 0, 0.01 .. 1, IoU 0.5; "best": the point of the largest F1
        as "f1", "score", "precision", "recall"}}; a class without ground truth is left out) and ``confusion``: see
        ``confusion``.
    """
    precision = evaluation.eval["precision"][0, :, :, 0, -1]  # [recalls, classes]: IoU 0.5, any size, most detections
    scores = evaluation.eval["scores"][0, :, :, 0, -1]
    recalls = np.asarray(evaluation.params.recThrs)
    curves = {}
    for index, number in enumerate(evaluation.params.catIds):
        if (precision[:, index] > -1).all():  # -1: no ground truth
            curves[names[number]] = _curve(precision[:, index], scores[:, index], recalls)
    return {"curves": curves, "confusion": confusion(evaluation, names, score)}


def _curve(precision: Any, scores: Any, recalls: Any) -> dict[str, Any]:
    f1 = 2 * precision * recalls / np.maximum(precision + recalls, 1e-9)
    best = int(f1.argmax())
    point = {"f1": f1[best], "score": scores[best], "precision": precision[best], "recall": recalls[best]}
    return {
        "precision": [round(float(value), 4) for value in precision],
        "best": {name: round(float(value), 4) for name, value in point.items()} if f1[best] > 0 else None,
    }


def confusion(evaluation: Any, names: dict[int, str], score: float) -> dict[str, Any]:
    """Detections counted for what they lie on, whatever its class: the surest first, each object once.

    Returns:
        ``classes`` (names), ``counts`` (a row per class as it really is, a column per class as it was found; behind
        both one more for nothing: false alarms in the last row, missed objects in the last column), ``score``, ``iou``.
        Detections that lie on a crowd are not counted.
    """
    numbers = list(evaluation.params.catIds)
    place = {number: index for index, number in enumerate(numbers)}
    nothing = len(numbers)
    counts = np.zeros((nothing + 1, nothing + 1), int)
    truth, found = _by_image(evaluation.cocoGt), _by_image(evaluation.cocoDt)
    for image in evaluation.params.imgIds:
        real = [one for one in truth[image] if not one.get("iscrowd")]
        crowds = np.array([one["bbox"] for one in truth[image] if one.get("iscrowd")], float).reshape(-1, 4)
        seen = sorted((one for one in found[image] if one["score"] >= score), key=lambda one: -one["score"])
        overlap = _iou(_boxes(seen), _boxes(real))
        taken = np.zeros(len(real), bool)
        for index, one in enumerate(seen):
            row = np.where(taken, 0.0, overlap[index])
            best = int(row.argmax()) if len(real) else -1
            if best >= 0 and row[best] >= IOU:
                taken[best] = True
                counts[place[real[best]["category_id"]], place[one["category_id"]]] += 1
            elif not (_covered(_boxes([one]), crowds) >= IOU).any():
                counts[nothing, place[one["category_id"]]] += 1
        for one, matched in zip(real, taken):
            counts[place[one["category_id"]], nothing] += not matched
    return {
        "classes": [names[number] for number in numbers],
        "counts": counts.tolist(),
        "score": score,
        "iou": IOU,
    }


def _by_image(coco: Any) -> Any:
    found = defaultdict(list)
    for one in coco.dataset.get("annotations", ()):
        found[one["image_id"]].append(one)
    return found


def _boxes(entries: Any) -> Any:
    """float64 [N, 4]: x, y, width, height."""
    return np.array([one["bbox"] for one in entries], float).reshape(-1, 4)


def _intersection(first: Any, second: Any) -> Any:
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, :2] + first[:, None, 2:], second[None, :, :2] + second[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2)


def _iou(first: Any, second: Any) -> Any:
    common = _intersection(first, second)
    either = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1)[None, :] - common
    return common / np.maximum(either, 1e-12)


def _covered(first: Any, second: Any) -> Any:
    """Share of each first box that a second one covers: how COCO holds detections against crowds."""
    return _intersection(first, second) / np.maximum(first[:, 2:].prod(axis=1)[:, None], 1e-12)
