"""Which detections hang on an overlap next to the limit of suppression, or on the order of two scores that are almost
equal, where another rounding decides otherwise.

A board computes with other roundings than TensorFlow: NMS_TRT of TensorRT 8.6.1 rounds widths and heights to half
precision, and TF32, fp16 and int8 round the network itself. Where two boxes overlap by all but exactly the limit, a
good engine may keep one more box than the workstation did, or one less; where two boxes of an object have all but the
same score, it may keep the other one. The workstation alone knows the boxes that were suppressed, so it says which ones
these are. Boards do not count them, as long as there is another box where one is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections, iou_matrix
from jetlane.remote.agent.detect.near_ties import NearTies
from jetlane.tasks.converter.ssd.params import Nms

Array = np.ndarray[Any, Any]

#: Margins above this are no near ties in any precision.
LARGEST = 0.2
#: The difference of two scores, as a margin: what a pair of detections may differ by is 0.01 of the overlap and 0.005
#: of the score in fp32, and 0.05 and 0.02 in fp16.
_SCORE = 2.0


def near_ties(boxes: Array, scores: Array, nms: Nms, threshold: float, content: tuple[float, float]) -> NearTies:
    """The near ties of one image.

    Args:
        boxes: float32 [priors, 4]: xmin, ymin, xmax, ymax in the network's frame, decoded, not clipped.
        scores: float32 [priors, classes], background first, after sigmoid or softmax.
        threshold: Detections of at least this score count.
        content: The part of the frame that the image fills, as ``to_input`` gives it.
    """
    boxes = np.clip(boxes, 0.0, 1.0) if nms.clip_before else boxes
    rows = [
        row for label in range(scores.shape[1]) for row in _of_class(boxes, scores[:, label], label, nms, threshold)
    ]
    table = np.array(rows, np.float32).reshape(-1, 8)
    table = table[np.argsort(-table[:, 2], kind="stable")]
    table[:, 3:7] = np.clip(table[:, 3:7], 0.0, 1.0)
    seen = [len(Detections.from_nms(row[None, :7], 1, content)) == 1 for row in table]
    table = table[np.array(seen, bool)]
    return NearTies(Detections.from_nms(table[:, :7], len(table), content), table[:, 7].tolist(), nms.nms_threshold)


def _of_class(boxes: Array, scores: Array, label: int, nms: Nms, threshold: float) -> Iterator[tuple[float, ...]]:
    """(0, label, score, box, margin) of a class's near ties."""
    if label == nms.background_label_id:
        return
    order = np.argsort(-scores, kind="stable")[: nms.top_k]
    order = order[scores[order] >= max(threshold, nms.confidence_threshold)]
    margins = _margins(iou_matrix(boxes[order], boxes[order]), scores[order].astype(np.float64), nms.nms_threshold)
    for prior, margin in zip(order, margins):
        if margin <= LARGEST:
            yield (0.0, float(label), float(scores[prior]), *map(float, boxes[prior]), float(margin))


def _margins(overlaps: Array, scores: Array, limit: float) -> Array:
    """By how much overlaps or scores have to change for each box to come or go: float64 [N], the best box first.

    A kept box goes when another one that is there suppresses it: a better one whose overlap passes the limit, or a
    worse one that also comes to be the better. A suppressed one comes when each box that suppresses it goes, or
    overlaps it less, or is outranked by it. What comes and goes makes others go and come, until nothing changes.
    """
    count = len(overlaps)
    beyond = overlaps - limit
    better = np.arange(count)[:, None] > np.arange(count)  # [box, other]: whether the other is the better one
    gap = _SCORE * (scores[None, :] - scores[:, None])  # of a better one, as a margin
    kept = np.zeros(count, bool)
    for box in range(count):
        kept[box] = not (kept[:box] & (beyond[box, :box] > 0)).any()
    suppressing = better & kept & (beyond > 0)
    released = np.minimum(beyond, gap)  # until the other suppresses the box no more
    reached = np.maximum(np.maximum(-beyond, 0.0), np.where(better, 0.0, -gap))  # until it does
    reached[np.eye(count, dtype=bool)] = np.inf
    margins = np.full(count, np.inf)
    for _ in range(count + 1):
        comes = np.where(suppressing, np.minimum(released, margins), -np.inf).max(axis=1, initial=-np.inf)
        goes = np.maximum(reached, np.where(kept, 0.0, margins)).min(axis=1, initial=np.inf)
        changed = np.minimum(margins, np.where(kept, goes, comes))
        if np.array_equal(changed, margins):
            break
        margins = changed
    return margins
