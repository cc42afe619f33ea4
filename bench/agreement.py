"""Whether two runtimes found the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jetlane.specs.defaults import EXACT


def compare(
    found: Sequence[dict[str, Any]], wanted: Sequence[dict[str, Any]], threshold: float, limit: int
) -> dict[str, Any]:
    """Match detections one to one: same label, boxes and scores as near as an engine in fp32 must come.

    A list of ``limit`` detections was cut off: what the other side found below its end is not missing. Boxes outside
    the image are empty once they are clipped to it; NMS_TRT returns them, the Object Detection API drops them. They
    are counted apart.

    Args:
        found, wanted: Per image: ``boxes`` [N, 4], ``labels`` [N], ``scores`` [N], by descending score.
        threshold: Only detections of at least this score count.

    Returns:
        Over all images: how many are ``wanted``, how many of them ``matched``, how many are ``missing`` or were found
        as ``others``, how many are ``empty``; the largest difference of ``scores`` and ``corners`` among the matches.
    """
    total = {"wanted": 0, "matched": 0, "missing": 0, "others": 0, "empty": 0, "scores": 0.0, "corners": 0.0}
    for one, other in zip(found, wanted):
        ours, theirs = _above(one, threshold), _above(other, threshold)
        our_end, their_end = _end(ours, limit), _end(theirs, limit)
        empty = _areas(ours["boxes"]) == 0
        free = ~empty
        for box, label, score in zip(theirs["boxes"], theirs["labels"], theirs["scores"]):
            apart = np.abs(ours["scores"] - score)
            near = free & (ours["labels"] == label) & (apart <= EXACT.score) & (_iou(ours["boxes"], box) >= EXACT.iou)
            if not near.any():
                total["missing"] += int(score > our_end)
                continue
            # The closest box: equal scores come in any order.
            corners = np.where(near, np.abs(ours["boxes"] - box).max(1), np.inf)
            index = int(np.argmin(corners))
            free[index] = False
            total["matched"] += 1
            total["scores"] = max(total["scores"], float(apart[index]))
            total["corners"] = max(total["corners"], float(corners[index]))
        total["wanted"] += len(theirs["scores"])
        total["others"] += int((free & (ours["scores"] > their_end)).sum())
        total["empty"] += int(empty.sum())
    return total


def _above(side: dict[str, Any], threshold: float) -> dict[str, np.ndarray[Any, Any]]:
    kept = np.asarray(side["scores"]) >= threshold
    widths = {"boxes": (-1, 4), "labels": (-1,), "scores": (-1,)}
    return {key: np.asarray(side[key], np.float64).reshape(shape)[kept] for key, shape in widths.items()}


def _end(side: dict[str, np.ndarray[Any, Any]], limit: int) -> float:
    """Below which score a list says nothing."""
    return float(side["scores"][-1]) if len(side["scores"]) == limit else 0.0


def _areas(boxes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(np.prod(boxes[:, 2:] - boxes[:, :2], 1))


def _iou(boxes: np.ndarray[Any, Any], box: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    areas = _areas(boxes) + _areas(box[None])
    return np.divide(shared, areas - shared, out=np.zeros(len(boxes)), where=areas > shared)
