"""NMS_TRT in ONNX operators: box decoding, scores, suppression, selection.

All classes are suppressed at once: the classes are the batch axis of one NonMaxSuppression, over the topK candidates
of each. Ties fall as in the plugin: TopK and NonMaxSuppression both prefer the lower index, which is the lower prior
within a class and the lower class over all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.builder import Array, Builder
from jetlane.tasks.converter.ssd.params import TF_CENTER, Nms


@dataclass(frozen=True)
class Priors:
    """Anchors and variances, float32 [P, 4] each: xmin, ymin, xmax, ymax and x, y, w, h."""

    boxes: Array
    variances: Array


def check(nms: Nms, priors: int) -> None:
    """Refuse what this lowering does not do.

    Args:
        priors: How many there are.

    Raises:
        ConversionError: Naming the field.
    """
    wanted = {
        "codeType": (nms.code_type, TF_CENTER),
        "shareLocation": (nms.share_location, True),
        "isNormalized": (nms.is_normalized, True),
        "backgroundLabelId": (nms.background_label_id, 0),
    }
    for field, (given, only) in wanted.items():
        if given != only:
            raise ConversionError(
                f"NMS_TRT's {field} is {int(given)}",
                f"only {int(only)} can be lowered to ONNX",
                "use the parameters that were derived",
            )
    limits = {
        "numClasses": (nms.num_classes, 2, math.inf),
        "topK": (nms.top_k, 1, priors),
        "keepTopK": (nms.keep_top_k, 1, priors * (nms.num_classes - 1)),
        "nmsThreshold": (nms.nms_threshold, 0, 1),
    }
    for field, (number, least, most) in limits.items():
        if not least <= number <= most:
            raise ConversionError(f"NMS_TRT's {field} is {number}", f"with {priors} priors it is {least} to {most}")
    if not nms.confidence_threshold >= 0:
        raise ConversionError(
            f"confidenceThreshold is {nms.confidence_threshold}",
            "NMS_TRT sorts empty slots before negative scores",
            "use a threshold of 0 or more",
        )


def decode(builder: Builder, loc: str, priors: Priors) -> tuple[str, str]:
    """Box codes float32 [P, 4] (ty, tx, th, tw) -> low and high corners, float32 [P, 2] each, as y, x."""
    low, high = priors.boxes[:, :2], priors.boxes[:, 2:]
    size, center = (high - low)[:, ::-1], ((low + high) / np.float32(2))[:, ::-1]
    offset = _scaled(builder, loc, (0, 2), priors.variances[:, 1::-1])
    moved = builder.op("Mul", offset, builder.constant(size))
    middle = builder.op("Add", moved, builder.constant(center), name="center")
    growth = builder.op("Exp", _scaled(builder, loc, (2, 4), priors.variances[:, :1:-1]))
    half = builder.op("Mul", growth, builder.constant(size / np.float32(2)), name="half")
    return builder.op("Sub", middle, half, name="low"), builder.op("Add", middle, half, name="high")


def _scaled(builder: Builder, loc: str, columns: tuple[int, int], variances: Array) -> str:
    """Two columns of the codes, times their variances (one row where all priors share them)."""
    codes = builder.op("Slice", loc, builder.ints(columns[0]), builder.ints(columns[1]), builder.ints(1), name="codes")
    if np.all(variances == variances[0]):
        variances = variances[:1]
    return builder.op("Mul", codes, builder.constant(np.ascontiguousarray(variances)))


def boxes_and_scores(builder: Builder, loc: str, scores: str, priors: Priors, outputs: tuple[str, str]) -> None:
    """The heads alone: ``boxes`` [1, P, 4] xmin, ymin, xmax, ymax, decoded, not clipped, and ``scores`` [1, P, C]."""
    low, high = decode(builder, loc, priors)
    corners = builder.op("Concat", low, high, axis=1)
    ordered = builder.op("Gather", corners, builder.ints(1, 0, 3, 2), axis=1)
    builder.op("Unsqueeze", ordered, builder.ints(0), output=outputs[0])
    builder.op("Unsqueeze", scores, builder.ints(0), output=outputs[1])


def detections(builder: Builder, loc: str, scores: str, priors: Priors, nms: Nms, outputs: tuple[str, str]) -> None:
    """From box codes [P, 4] and scores [P, C] to NMS_TRT's two outputs for one image."""
    classes, top_k = nms.num_classes - 1, nms.top_k
    low, high = decode(builder, loc, priors)
    corners = builder.op("Concat", low, high, axis=1, name="corners")
    objects = builder.op(
        "Slice", scores, builder.ints(1), builder.ints(nms.num_classes), builder.ints(1), name="objects"
    )
    by_class = builder.op("Transpose", objects, perm=[1, 0], name="by_class")
    best, index = builder.ops(
        "TopK",
        by_class,
        builder.ints(top_k),
        names=(builder.fresh("best"), builder.fresh("index")),
        axis=1,
        largest=1,
        sorted=1,
    )
    candidates = builder.op("Gather", corners, index, axis=0, name="candidates")  # [classes, topK, 4]
    if nms.clip_before:
        bounds = [builder.constant(np.float32(bound)) for bound in (0, 1)]
        candidates = builder.op("Clip", candidates, *bounds, name="clipped")
    threshold = builder.constant(np.array([nms.confidence_threshold], np.float32))
    ranks = -(-4 * nms.keep_top_k // classes)
    if ranks <= top_k // 4:
        threshold = _raised(builder, best, candidates, nms, ranks, threshold)
    slot = _suppress(builder, best, candidates, nms, top_k, threshold)
    _rows(builder, slot, best, candidates, nms, classes, outputs)


def _suppress(builder: Builder, best: str, candidates: str, nms: Nms, ranks: int, threshold: str) -> str:
    """Survivors of each class among its first ``ranks`` candidates: int64 [M], class * ranks + rank."""
    selected = builder.op(
        "NonMaxSuppression",
        candidates,
        builder.op("Unsqueeze", best, builder.ints(1)),
        builder.ints(min(ranks, nms.keep_top_k)),  # no class can return more
        builder.constant(np.array([nms.nms_threshold], np.float32)),
        threshold,
        name="selected",
    )  # [M, 3]: class, 0, rank
    weighted = builder.op("Mul", selected, builder.constant(np.array([[ranks, 0, 1]], np.int64)))
    return builder.op("ReduceSum", weighted, builder.ints(1), keepdims=0, name="slot")


def _raised(builder: Builder, best: str, candidates: str, nms: Nms, ranks: int, threshold: str) -> str:
    """A threshold that avoids suppressing what cannot be among the keepTopK best of all classes.

    Suppression goes by descending score, so it does to the first ranks of each class what it does to them among all.
    Where keepTopK of those survive, nothing below the last of them is returned. With many classes that leaves a small
    part of the pairs to be compared.
    """
    first = (builder.ints(0), builder.ints(ranks), builder.ints(1))
    scores = builder.op("Slice", best, *first, name="first_best")
    slot = _suppress(
        builder, scores, builder.op("Slice", candidates, *first, name="first_candidates"), nms, ranks, threshold
    )
    last = builder.op("Slice", _best(builder, scores, slot, nms)[0], builder.ints(-1), builder.ints(nms.keep_top_k))
    # Just below it, denormal numbers included: thresholds are exclusive, and equal scores stay in the running.
    below = builder.op("Mul", last, builder.constant(np.float32(0.999)))
    below = builder.op("Sub", below, builder.constant(np.float32(1e-37)))
    return builder.op("Max", below, threshold, name="raised")


def _best(builder: Builder, best: str, slot: str, nms: Nms) -> Sequence[str]:
    """The keepTopK highest scores of the slots, and their places among them; -1 where there are not enough."""
    flat = builder.op("Reshape", best, builder.ints(-1))
    # keepTopK empty slots below any score, so that there are always enough.
    empty = builder.constant(np.full(nms.keep_top_k, -1, np.float32))
    scores = builder.op("Concat", builder.op("Gather", flat, slot, axis=0), empty, axis=0)
    names = (builder.fresh("top"), builder.fresh("order"))
    return builder.ops("TopK", scores, builder.ints(nms.keep_top_k), names=names, axis=0, largest=1, sorted=1)


def _rows(
    builder: Builder, slot: str, best: str, candidates: str, nms: Nms, classes: int, outputs: tuple[str, str]
) -> None:
    """The keepTopK best of the surviving slots, padded with rows of label -1."""
    keep = nms.keep_top_k
    top, order = _best(builder, best, slot, nms)
    slots = builder.op("Concat", slot, builder.constant(np.zeros(keep, np.int64)), axis=0)
    chosen = builder.op("Gather", slots, order, axis=0, name="chosen")
    used = builder.op("GreaterOrEqual", top, builder.constant(np.float32(0)), name="used")
    label = builder.op("Div", chosen, builder.constant(np.int64(nms.top_k)))
    label = builder.op("Add", label, builder.constant(np.int64(1)))
    label = builder.op("Where", used, builder.op("Cast", label, to=1), builder.constant(np.float32(-1)), name="label")
    boxes = builder.op(
        "Gather", builder.op("Reshape", candidates, builder.ints(classes * nms.top_k, 4)), chosen, axis=0
    )
    boxes = builder.op("Gather", boxes, builder.ints(1, 0, 3, 2), axis=1)
    zero, one = builder.constant(np.float32(0)), builder.constant(np.float32(1))
    boxes = builder.op("Clip", boxes, zero, one)
    boxes = builder.op("Where", builder.op("Unsqueeze", used, builder.ints(1)), boxes, zero)
    columns = [
        builder.constant(np.zeros((keep, 1), np.float32)),
        builder.op("Unsqueeze", label, builder.ints(1)),
        builder.op("Unsqueeze", builder.op("Max", top, zero), builder.ints(1)),
        boxes,
    ]
    builder.op("Reshape", builder.op("Concat", *columns, axis=1), builder.ints(1, 1, keep, 7), output=outputs[0])
    count = builder.op("ReduceSum", builder.op("Cast", used, to=6), builder.ints(0), keepdims=1)
    builder.op("Reshape", count, builder.ints(1, 1, 1, 1), output=outputs[1])
