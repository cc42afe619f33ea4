"""Whether two runtimes found the same."""

from __future__ import annotations

from typing import Any

import numpy as np


def compare(found: dict[str, Any], wanted: dict[str, Any], threshold: float) -> dict[str, Any]:
    """Match detections one to one: same label, scores closest first, IoU of at least 0.99, score within 0.005.

    Args:
        found, wanted: ``boxes`` [N, 4], ``labels`` [N], ``scores`` [N], by descending score.
        threshold: Of the wanted ones, only those of at least this score count.

    Returns:
        How many there are on each side and how many match; the largest difference of scores and of corners among
        the matches; the largest difference of the sorted scores, which does not depend on the order of ties.
    """
    ours, theirs = ({key: np.asarray(value, np.float64) for key, value in side.items()} for side in (found, wanted))
    theirs = {key: value[np.asarray(wanted["scores"]) >= threshold] for key, value in theirs.items()}
    free = np.ones(len(ours["scores"]), bool)
    scores, corners = [0.0], [0.0]
    matches = 0
    for box, label, score in zip(theirs["boxes"], theirs["labels"], theirs["scores"]):
        near = free & (ours["labels"] == label) & (np.abs(ours["scores"] - score) <= 0.005)
        near &= _iou(ours["boxes"], box) >= 0.99
        if near.any():
            # The closest box: equal scores come in any order.
            index = int(np.argmin(np.where(near, np.abs(ours["boxes"] - box).max(1), np.inf)))
            free[index] = False
            matches += 1
            scores.append(abs(float(ours["scores"][index] - score)))
            corners.append(float(np.abs(ours["boxes"][index] - box).max()))
    shared = min(len(ours["scores"]), len(theirs["scores"]))
    sorted_scores = np.abs(ours["scores"][:shared] - theirs["scores"][:shared]).max(initial=0)
    return {
        "found": len(ours["scores"]),
        "wanted": len(theirs["scores"]),
        "matched": matches,
        "score": float(f"{max(scores):.2g}"),
        "corner": float(f"{max(corners):.2g}"),
        "sorted_scores": float(f"{sorted_scores:.2g}"),
    }


def _iou(boxes: np.ndarray[Any, Any], box: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.maximum(high - low, 0), 1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1) + np.prod(box[2:] - box[:2])
    return np.divide(shared, areas - shared, out=np.zeros(len(boxes)), where=areas > shared)
