"""Non-maximum suppression in numpy, equal to NMS_TRT's once its boxes are decoded.

For TensorRT 10 and later, whose networks end at decoded boxes and scores. The rules (order of ties, strict comparisons,
candidates cut before suppression, clipping on output alone) are the plugin's.
"""

from typing import Any, Dict, Tuple

import numpy as np

from .arrays import Array


def suppress(boxes: Array, scores: Array, nms: Dict[str, Any]) -> Tuple[Array, int]:
    """Select detections of one image.

    Args:
        boxes: float32 [priors, 4]: xmin, ymin, xmax, ymax, decoded, not clipped.
        scores: float32 [priors, classes], background first, after sigmoid or softmax.
        nms: The JSON form of the NMS parameters.

    Returns:
        float32 [keepTopK, 7] as NMS_TRT's output 0 (image id 0; unused rows have label -1), and how many are valid.
    """
    boxes = np.ascontiguousarray(boxes, np.float32).reshape(-1, 4)
    scores = np.ascontiguousarray(scores, np.float32).reshape(len(boxes), -1)
    threshold = np.float32(nms["confidence_threshold"])
    if nms.get("clip_before"):  # as graphs of 2017 and early 2018 do, unlike the plugin
        boxes = np.clip(boxes, 0.0, 1.0)
    found = []
    for label in range(scores.shape[1]):
        if label == nms["background_label_id"]:
            continue
        column = scores[:, label]
        valid = np.flatnonzero(column > threshold)
        # mergesort is stable: of equal scores the lower prior comes first, as in the plugin
        candidates = valid[np.argsort(-column[valid], kind="mergesort")][: nms["top_k"]]
        kept = candidates[_survivors(boxes[candidates], np.float32(nms["nms_threshold"]), nms["is_normalized"])]
        rows = np.zeros((len(kept), 7), np.float32)
        rows[:, 1], rows[:, 2], rows[:, 3:] = label, column[kept], boxes[kept]
        found.append(rows)
    every = np.concatenate(found) if found else np.zeros((0, 7), np.float32)
    best = every[np.argsort(-every[:, 2], kind="mergesort")][: nms["keep_top_k"]]
    # NaN coordinates leave the plugin as 0; boxes are clipped here alone, suppression saw them whole
    best[:, 3:] = np.clip(np.nan_to_num(best[:, 3:]), 0.0, 1.0)
    top = np.zeros((nms["keep_top_k"], 7), np.float32)
    top[:, 1] = -1.0
    top[: len(best)] = best
    return top, len(best)


def _survivors(boxes: Array, threshold: np.float32, normalized: bool) -> Array:
    """Positions that greedy suppression keeps; ``boxes`` are best first."""
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    one = np.float32(0.0 if normalized else 1.0)
    sides = high - low + one
    areas = sides[:, 0] * sides[:, 1]
    alive = np.ones(len(boxes), bool)
    kept = []
    for first in range(len(boxes)):
        if not alive[first]:
            continue
        kept.append(first)
        rest = np.flatnonzero(alive[first + 1 :]) + first + 1
        corner, far = np.maximum(low[first], low[rest]), np.minimum(high[first], high[rest])
        apart = (far < corner).any(axis=1)
        overlap = np.where(apart[:, None], np.float32(0.0), far - corner) + one
        shared = overlap[:, 0] * overlap[:, 1]
        counts = (overlap > 0).all(axis=1)
        union = areas[first] + areas[rest] - shared
        with np.errstate(divide="ignore", invalid="ignore"):
            alive[rest[counts & (shared / union > threshold)]] = False
    return np.array(kept, np.intp)
