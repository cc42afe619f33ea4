"""Whether two runtimes found the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def compare(found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]], threshold: float) -> dict[str, Any]:
    """Match detections one to one: same label, IoU of at least 0.99, score within 0.005.

    Args:
        found, wanted: Per image: ``boxes`` [N, 4], ``labels`` [N], ``scores`` [N].
        threshold: Only detections of at least this score count.

    Returns:
        Over all images: how many are ``wanted``, how many of them ``matched``, how many ``others`` were found; the
        largest difference of ``scores`` and ``corners`` among the matches.
    """
    total = {"wanted": 0, "matched": 0, "others": 0, "scores": 0.0, "corners": 0.0}
    for one, other in zip(found, wanted):
        ours, theirs = _above(one, threshold), _above(other, threshold)
        free = np.ones(len(ours["scores"]), bool)
        for box, label, score in zip(theirs["boxes"], theirs["labels"], theirs["scores"]):
            apart = np.abs(ours["scores"] - score)
            near = free & (ours["labels"] == label) & (apart <= 0.005) & (_iou(ours["boxes"], box) >= 0.99)
            if near.any():
                # The closest box: equal scores come in any order.
                corners = np.where(near, np.abs(ours["boxes"] - box).max(1), np.inf)
                index = int(np.argmin(corners))
                free[index] = False
                total["matched"] += 1
                total["scores"] = max(total["scores"], float(apart[index]))
                total["corners"] = max(total["corners"], float(corners[index]))
        total["wanted"] += len(theirs["scores"])
        total["others"] += int(free.sum())
    return total


def _above(side: dict[str, Any], threshold: float) -> dict[str, np.ndarray[Any, Any]]:
    kept = np.asarray(side["scores"]) >= threshold
    widths = {"boxes": (-1, 4), "labels": (-1,), "scores": (-1,)}
    return {key: np.asarray(side[key], np.float64).reshape(shape)[kept] for key, shape in widths.items()}


def _iou(boxes: np.ndarray[Any, Any], box: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1) + np.prod(box[2:] - box[:2])
    return np.divide(shared, areas - shared, out=np.zeros(len(boxes)), where=areas > shared)
