"""Average precision of each class, which the OD API's evaluator computes and does not tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Dict, Optional  # noqa: UP035

from . import coco_detail

#: What the names of the OD API's box metrics begin with.
BOXES = "DetectionBoxes_"


class Classes(Dict[str, Any]):  # noqa: UP006  (evaluated at run time, by Python 3.7 too)
    """``{class name: {"AP": ..., "AP@0.5": ...}}``; None for a class without ground truth."""

    images = 0
    detail: Dict[str, Any] = {}  # noqa: UP006, RUF012


@contextlib.contextmanager
def per_class(score: Optional[float] = None) -> Iterator[Classes]:
    """Gather per-class figures and ``coco_detail.detail``: the OD API looks for them in a pycocotools of its making.

    Args:
        score: Of detections that the detail counts; there is none without it.
    """
    from object_detection.metrics import coco_tools

    original = coco_tools.COCOEvalWrapper.ComputeMetrics
    classes = Classes()

    def computing(evaluator: Any, *args: Any, **kwargs: Any) -> Any:
        computed = original(evaluator)
        precision = evaluator.eval["precision"]  # [IoU thresholds, recalls, classes, areas, most detections]
        classes.images = len(evaluator.params.imgIds)
        for index, number in enumerate(evaluator.params.catIds):
            of_class = precision[:, :, index, 0, -1]
            classes[evaluator.cocoGt.cats[number]["name"]] = {"AP": _mean(of_class), "AP@0.5": _mean(of_class[0])}
        if score is not None:
            names = {number: category["name"] for number, category in evaluator.cocoGt.cats.items()}
            classes.detail = coco_detail.detail(evaluator, names, score)
        return computed

    coco_tools.COCOEvalWrapper.ComputeMetrics = computing
    try:
        yield classes
    finally:
        coco_tools.COCOEvalWrapper.ComputeMetrics = original


def _mean(precision: Any) -> Any:
    known = precision[precision > -1]  # -1: no ground truth
    return float(known.mean()) if known.size else None
