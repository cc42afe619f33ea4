"""Which detections hang on an overlap next to the limit of suppression, where another rounding decides otherwise.

A board computes boxes with other roundings than TensorFlow: NMS_TRT of TensorRT 8.6.1 rounds widths and heights to half
precision, and TF32, fp16 and int8 round the network itself. Where two boxes overlap by all but exactly the limit, a
good engine may keep one more box than the workstation did, or one less. The workstation alone knows the boxes that were
suppressed, so it says which ones these are, and boards do not count them.
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
LARGEST = 0.1


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
    return NearTies(Detections.from_nms(table[:, :7], len(table), content), table[:, 7].tolist())


def _of_class(boxes: Array, scores: Array, label: int, nms: Nms, threshold: float) -> Iterator[tuple[float, ...]]:
    """(0, label, score, box, margin) of a class's near ties."""
    if label == nms.background_label_id:
        return
    order = np.argsort(-scores, kind="stable")[: nms.top_k]
    order = order[scores[order] >= max(threshold, nms.confidence_threshold)]
    margins = _margins(iou_matrix(boxes[order], boxes[order]), nms.nms_threshold)
    for prior, margin in zip(order, margins):
        if margin <= LARGEST:
            yield (0.0, float(label), float(scores[prior]), *map(float, boxes[prior]), float(margin))


def _margins(overlaps: Array, limit: float) -> Array:
    """By how much overlaps have to change for each box to come or go: float64 [N], the best box first.

    A kept box goes when the overlap with a better one passes the limit, for which that one must be there. A suppressed
    one comes when each box that suppresses it goes, or overlaps it less.
    """
    count = len(overlaps)
    margins, kept = np.full(count, np.inf), np.zeros(count, bool)
    for box in range(count):
        beyond = overlaps[box, :box] - limit
        suppressing = kept[:box] & (beyond > 0)
        kept[box] = not suppressing.any()
        if kept[box]:
            comes = np.where(kept[:box], 0.0, margins[:box])
            margins[box] = np.maximum(comes, -beyond).min(initial=np.inf)
        else:
            margins[box] = np.minimum(margins[:box], beyond)[suppressing].max()
    return margins
