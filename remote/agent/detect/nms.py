"""Non-maximum suppression in numpy, equal to NMS_TRT's once its boxes are decoded.

For TensorRT 10 and later, whose networks end at decoded boxes and scores. The rules (order of ties, strict comparisons,
candidates cut before suppression, clipping on output alone) are the plugin's.
"""

from typing import Any, Dict, Tuple

import numpy as np

from .arrays import Array

#: So many boxes are compared with all behind them at a time.
_BLOCK = 64


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
    priors, labels = _candidates(scores, threshold, nms)
    kept = _kept(boxes[priors], labels, np.float32(nms["nms_threshold"]), nms["is_normalized"])
    priors, labels = priors[kept], labels[kept]
    every = np.zeros((len(kept), 7), np.float32)
    every[:, 1], every[:, 2], every[:, 3:] = labels, scores[priors, labels], boxes[priors]
    best = every[np.argsort(-every[:, 2], kind="mergesort")][: nms["keep_top_k"]]
    # NaN coordinates leave the plugin as 0; boxes are clipped here alone, suppression saw them whole
    best[:, 3:] = np.clip(np.nan_to_num(best[:, 3:]), 0.0, 1.0)
    top = np.zeros((nms["keep_top_k"], 7), np.float32)
    top[:, 1] = -1.0
    top[: len(best)] = best
    return top, len(best)


def _candidates(scores: Array, threshold: np.float32, nms: Dict[str, Any]) -> Tuple[Array, Array]:
    """Priors and labels of what enters suppression: class by class, in each the best first, ``top_k`` at most."""
    passing = scores > threshold
    if 0 <= nms["background_label_id"] < scores.shape[1]:
        passing[:, nms["background_label_id"]] = False
    priors, labels = np.divmod(np.flatnonzero(passing), scores.shape[1])
    # of equal scores the lower prior comes first, as in the plugin
    order = np.lexsort((priors, -scores[priors, labels], labels))
    priors, labels = priors[order], labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
    return priors[rank < nms["top_k"]], labels[rank < nms["top_k"]]


def survivors(boxes: Array, threshold: np.float32, normalized: bool) -> Array:
    """Greedy suppression in one class: those with an IoU above ``threshold`` with a better one go.

    Args:
        boxes: float32 [M, 4] corners, best first; corners are put in order first.
        normalized: False for the convention of pixels, where a box of one pixel is one wide.

    Returns:
        Positions kept, ascending.
    """
    return _kept(boxes, np.zeros(len(boxes), np.intp), threshold, normalized)


def _kept(boxes: Array, labels: Array, threshold: np.float32, normalized: bool) -> Array:
    """Positions that greedy suppression within each class keeps.

    Many pairs are compared at a time, of several classes too: numpy's price is by the call.

    Args:
        boxes: In each class the best come first.
        labels: Their classes, ascending.
    """
    one = np.float32(0.0 if normalized else 1.0)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    sides = high - low + one
    # one array, so that a block's numbers are gathered at once
    rows = np.column_stack([low, high, sides[:, :1] * sides[:, 1:], labels])
    alive = np.ones(len(boxes), bool)
    for begin in range(0, len(boxes), _BLOCK):
        end = np.searchsorted(labels, labels[min(begin + _BLOCK, len(boxes)) - 1], "right")
        others = np.flatnonzero(alive[begin:end]) + begin
        firsts = others[: np.searchsorted(others, begin + _BLOCK)]
        covers = _covers(rows[firsts], rows[others], threshold, one)
        covers &= others > firsts[:, None]
        for row in np.flatnonzero(covers.any(axis=1)):
            if alive[firsts[row]]:
                alive[others[covers[row]]] = False
    return np.flatnonzero(alive)


def _covers(firsts: Array, others: Array, threshold: np.float32, one: np.float32) -> Array:
    """bool [firsts, others]: whether two are of one class and their overlap is above the threshold.

    Args:
        firsts: float32 [N, 6]: xmin, ymin, xmax, ymax, area, class.
        others: Likewise.
        one: What a side is longer than the difference of its ends.
    """
    left = firsts.T[:, :, None]
    right = others.T[:, None, :]
    width = np.minimum(left[2], right[2]) - np.maximum(left[0], right[0])
    height = np.minimum(left[3], right[3]) - np.maximum(left[1], right[1])
    apart = (width < 0) | (height < 0)
    width[apart] = height[apart] = 0.0
    width += one
    height += one
    shared = width * height
    with np.errstate(divide="ignore", invalid="ignore"):
        above = shared / (left[4] + right[4] - shared) > threshold
    suppressed: Array = above & (width > 0) & (height > 0) & (left[5] == right[5])
    return suppressed
