"""Numpy reference of TensorRT's three SSD plugins, as NVIDIA's published sources compute on a GPU.

GridAnchor_TRT and the half-precision NMS_TRT are reproduced bit for bit, FP32 NMS_TRT to the last place of ``exp``.
NVIDIA's own library of TensorRT 8.6.1 differs from those sources in one thing: see ``half_sizes``.
Two things the plugins do are left undefined by them (topK above the number of priors, and memory they never write);
they are refused here, or shown as NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.nms import survivors
from jetlane.tasks.converter.ssd.params import CENTER_SIZE, CORNER, CORNER_SIZE, TF_CENTER, GridAnchor, Nms

Array = np.ndarray[Any, Any]

#: Scale of the first box of each cell in the lowest layer; it is built into the plugin.
LOWEST_SCALE = np.float32(0.1)
#: The greatest half below 2: with ``scoreBits`` the plugin sorts score + 1 and caps it here.
_HALF_BELOW_TWO = np.float16(1.9990234)


def grid_anchor(params: GridAnchor) -> list[Array]:
    """GridAnchor_TRT, or GridAnchorRect_TRT where a map is not square.

    Returns:
        One float32 [2, H*W*A*4, 1] per layer: row 0 the boxes (xmin, ymin, xmax, ymax; by row, column, box), row 1 the
        variances. With one layer the scale is 0/0, as in the plugin: all but the first box of a cell are NaN.
    """
    return [_layer(params, index) for index in range(params.num_layers)]


def grid_anchor_boxes(params: GridAnchor) -> Array:
    """Boxes of all layers: float32 [numPriors, 4], xmin, ymin, xmax, ymax."""
    boxes: Array = np.concatenate([layer[0].reshape(-1, 4) for layer in grid_anchor(params)])
    return boxes


def _layer(params: GridAnchor, index: int) -> Array:
    widths, heights = _cell(params, index)
    rows, columns = params.feature_map_shapes[index]
    y, x = _centers(rows), _centers(columns)
    boxes = np.empty((rows, columns, len(widths), 4), np.float32)
    # The sums are made in double and rounded once.
    half_width, half_height = 0.5 * widths.astype(np.float64), 0.5 * heights.astype(np.float64)
    x64, y64 = x.astype(np.float64)[None, :, None], y.astype(np.float64)[:, None, None]
    boxes[..., 0], boxes[..., 2] = x64 - half_width, x64 + half_width
    boxes[..., 1], boxes[..., 3] = y64 - half_height, y64 + half_height
    variances = np.tile(np.asarray(params.variance, np.float32), boxes.size // 4)
    layer: Array = np.stack([boxes.ravel(), variances])
    return layer[..., None]


def _cell(params: GridAnchor, index: int) -> tuple[Array, Array]:
    """Widths and heights of one cell's boxes: float32 [A] each."""
    ratios = np.asarray(params.aspect_ratios, np.float32)
    scale = _scale(params, index)
    if index == 0:
        scales, ratios = np.array([LOWEST_SCALE, scale, scale]), ratios[:3]
    else:
        between = np.float32(np.sqrt(np.float64(scale) * np.float64(_scale(params, index + 1))))
        scales = np.array([scale] * len(ratios) + [between])
        ratios = np.append(ratios, np.float32(1))
    root = np.sqrt(ratios)
    return scales * root, scales / root


def _scale(params: GridAnchor, index: int) -> np.float32:
    if index == params.num_layers:
        return np.float32(1)
    low, high = np.float32(params.min_size), np.float32(params.max_size)
    with np.errstate(invalid="ignore"):
        return np.float32(low + ((high - low) * np.float32(index)) / np.float32(params.num_layers - 1))


def _centers(count: int) -> Array:
    step = np.float32(1) / np.float32(count)
    # Not (i + 0.5) * step: that is 1 ulp off in some cells.
    centers: Array = np.arange(count, dtype=np.float32) * step + step / np.float32(2)
    return centers


def flatten_concat(inputs: Sequence[Array]) -> Array:
    """FlattenConcat_TRT with axis 1: [N, sum of all elements, 1, 1], input after input, each row-major."""
    flat = [array.reshape(len(array), -1) for array in inputs]
    joined: Array = np.concatenate(flat, axis=1)
    return joined[..., None, None]


def decode(loc: Array, prior: Array, params: Nms, *, half_sizes: bool = False) -> Array:
    """Boxes of one image before suppression, not clipped.

    Args:
        loc: [R, C, 4] codes; C is 1 when locations are shared. float32 or float16.
        prior: [2, R*4, 1] of the same type.
        half_sizes: Widths and heights pass through half precision, though all else is float32, as in the library of
            TensorRT 8.6.1: sizes are up to 0.14 % off, centres are exact.

    Returns:
        [R, C, 4] xmin, ymin, xmax, ymax, of the inputs' type.
    """
    box, variance = (row.reshape(-1, 1, 4) for row in prior)
    if params.code_type == CORNER:
        corners: Array = box + (loc if params.variance_encoded_in_target else loc * variance)
        return corners
    width, height = box[..., 2] - box[..., 0], box[..., 3] - box[..., 1]
    if params.code_type == CORNER_SIZE:
        size = np.stack([width, height, width, height], axis=-1)
        scaled = loc if params.variance_encoded_in_target else loc * variance
        return _fused(scaled, size, box)
    if params.code_type == TF_CENTER:
        # The codes are y, x, h, w here, the variances stay x, y, w, h; varianceEncodedInTarget is ignored.
        scaled = loc[..., [1, 0, 3, 2]] * variance
    elif params.code_type == CENTER_SIZE:
        scaled = loc if params.variance_encoded_in_target else loc * variance
    else:
        raise ValueError(f"codeType {params.code_type} is none of 0 to 3")
    two = loc.dtype.type(2)
    center_x = _fused(scaled[..., 0], width, (box[..., 0] + box[..., 2]) / two)
    center_y = _fused(scaled[..., 1], height, (box[..., 1] + box[..., 3]) / two)
    size = _size_in_half if half_sizes else _size
    half_width, half_height = size(scaled[..., 2], width) / two, size(scaled[..., 3], height) / two
    return np.stack(
        [center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height], axis=-1
    )


def _fused(a: Array, b: Array, c: Array) -> Array:
    """a * b + c, rounded once: the GPU fuses a product and the sum that follows."""
    return (a.astype(np.float64) * b.astype(np.float64) + c.astype(np.float64)).astype(a.dtype)


def _size(code: Array, side: Array) -> Array:
    size: Array = _exp(code) * side
    return size


def _size_in_half(code: Array, side: Array) -> Array:
    """Each of both, the exponential and the product are rounded to half: so in 732 of 732 sides measured."""
    return _size(code.astype(np.float16), side.astype(np.float16)).astype(np.float32)


def _exp(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.exp(x.astype(np.float64)).astype(x.dtype)


def nms(
    loc: Array,
    conf: Array,
    prior: Array,
    params: Nms,
    *,
    score_bits: int = 16,
    batch_agnostic: bool = True,
    half_sizes: bool = False,
) -> tuple[Array, Array]:
    """NMS_TRT.

    Args:
        loc: [N, R*C*4, 1, 1] box codes; conf: [N, R*numClasses, 1, 1] logits or scores; prior: [N, 2, R*4, 1].
            All float32, or all float16 (TensorRT 8.0 on).
        score_bits: ``scoreBits``: how many mantissa bits are compared; half precision only, 1 to 10, others mean all.
        batch_agnostic: Whether the priors of image 0 serve all images.
        half_sizes: As ``decode``'s.

    Returns:
        Detections [N, 1, keepTopK, 7] of the inputs' type (image id, label, score, xmin, ymin, xmax, ymax; label -1 in
        unused rows), and the count of used rows, int32 [N, 1, 1, 1]. With keepTopK above topK the plugin writes
        nothing and counts 0; the rows are NaN then.

    Raises:
        ValueError: topK above the number of priors, where the plugin overruns its own buffers.
    """
    images, priors = len(loc), prior.shape[2] // 4
    if params.top_k > priors:
        raise ValueError(f"topK {params.top_k} is above the {priors} priors")
    top = np.zeros((images, 1, params.keep_top_k, 7), loc.dtype)
    count = np.zeros((images, 1, 1, 1), np.int32)
    if params.keep_top_k > params.top_k:
        top[:] = np.nan
        return top, count
    for image in range(images):
        anchors = prior[0 if batch_agnostic else image]
        boxes = decode(loc[image].reshape(priors, -1, 4), anchors, params, half_sizes=half_sizes)
        keys = _Keys(conf[image].reshape(priors, params.num_classes), params, score_bits)
        rows = _select(boxes, keys, params)
        top[image, 0, :, 0] = image
        top[image, 0, :, 1] = -1
        top[image, 0, : len(rows), 1:] = rows
        count[image] = len(rows)
    return top, count


class _Keys:
    """What NMS_TRT sorts by: scores, with 0 for everything not over the threshold."""

    def __init__(self, conf: Array, params: Nms, score_bits: int) -> None:
        scores = _sigmoid(conf) if params.conf_sigmoid else conf
        self.valid = scores.astype(np.float32) > np.float32(params.confidence_threshold)
        if 0 <= params.background_label_id < params.num_classes:
            self.valid[:, params.background_label_id] = False
        self.shifted = scores.dtype == np.float16 and 1 <= score_bits <= 10
        self.keys = np.where(self.valid, scores, scores.dtype.type(0))
        if self.shifted:
            self.keys = np.minimum(self.keys + np.float16(1), _HALF_BELOW_TWO)
        self._dropped_bits = 10 - score_bits

    def order(self, keys: Array) -> Array:
        """Indices of keys, greatest first; the lower index first among equals."""
        if self.shifted:
            return np.argsort(-(keys.view(np.int16) >> self._dropped_bits).astype(np.int32), kind="stable")
        return np.argsort(-keys, kind="stable")

    def scores(self, keys: Array) -> Array:
        return keys - np.float16(1) if self.shifted else keys


def _sigmoid(conf: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        # exp overflows above 88.72, inf/inf is NaN, and the plugin then drops the detection.
        power = np.exp(conf.astype(np.float64)).astype(np.float32)
        return (power / (np.float32(1) + power)).astype(conf.dtype)


def _select(boxes: Array, keys: _Keys, params: Nms) -> Array:
    """[kept, 6]: label, score, clipped box of one image."""
    slots = params.num_classes * params.top_k
    slot_keys = np.full(slots, 1 if keys.shifted else 0, boxes.dtype)
    slot_prior = np.full(slots, -1)
    for label in range(params.num_classes):
        order = keys.order(keys.keys[:, label])[: params.top_k]
        ranks = np.flatnonzero(keys.valid[order, label])
        column = 0 if params.share_location else label
        best_first = boxes[order[ranks], column].astype(np.float32)
        ranks = ranks[survivors(best_first, np.float32(params.nms_threshold), params.is_normalized)]
        slot_keys[label * params.top_k + ranks] = keys.keys[order[ranks], label]
        slot_prior[label * params.top_k + ranks] = order[ranks]
    best = keys.order(slot_keys)[: params.keep_top_k]
    best = best[slot_prior[best] >= 0]
    labels = best // params.top_k
    chosen = boxes[slot_prior[best], 0 if params.share_location else labels]
    chosen = np.clip(np.nan_to_num(chosen, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    return np.column_stack([labels.astype(boxes.dtype), keys.scores(slot_keys[best]), chosen])
