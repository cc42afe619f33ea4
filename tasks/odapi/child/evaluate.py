"""COCO metrics of a checkpoint, by the OD API's own evaluator (pycocotools beneath it)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Dict  # noqa: UP035

from . import configs

_BOXES = "DetectionBoxes_"


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Evaluate.

    Args:
        arguments: See ``configs.estimator_and_inputs``; also ``checkpoint`` (prefix) and ``out`` (TensorBoard events).
    """
    made = configs.estimator_and_inputs(arguments, arguments["out"])
    with per_class() as classes:
        measured = made["estimator"].evaluate(
            made["eval_input_fns"][0], steps=None, checkpoint_path=arguments["checkpoint"], name="validation"
        )
    return facts_of(measured, classes, int(measured["global_step"]))


def facts_of(measured: dict[str, Any], classes: _Classes, step: int) -> dict[str, Any]:
    """The facts of an evaluation, of what the OD API measured."""
    coco = {name[len(_BOXES) :]: float(value) for name, value in measured.items() if name.startswith(_BOXES)}
    losses = {name: float(value) for name, value in measured.items() if name.startswith("Loss/")}
    return {
        "mAP": coco["Precision/mAP"],
        "mAP@0.5": coco["Precision/mAP@.50IOU"],
        "mAP@0.75": coco["Precision/mAP@.75IOU"],
        "per_class": dict(classes),
        "coco": coco,
        "losses": losses,
        "images": classes.images,
        "step": step,
    }


class _Classes(Dict[str, Any]):  # noqa: UP006  (evaluated at run time, by Python 3.7 too)
    """``{class name: {"AP": ..., "AP@0.5": ...}}``; None for a class without ground truth."""

    images = 0


@contextlib.contextmanager
def per_class() -> Iterator[_Classes]:
    """Gather per-class figures: the OD API looks for them in a pycocotools of its own making."""
    from object_detection.metrics import coco_tools

    original = coco_tools.COCOEvalWrapper.ComputeMetrics
    classes = _Classes()

    def computing(evaluator: Any, *args: Any, **kwargs: Any) -> Any:
        computed = original(evaluator)
        precision = evaluator.eval["precision"]  # [IoU thresholds, recalls, classes, areas, most detections]
        classes.images = len(evaluator.params.imgIds)
        for index, number in enumerate(evaluator.params.catIds):
            of_class = precision[:, :, index, 0, -1]
            classes[evaluator.cocoGt.cats[number]["name"]] = {"AP": _mean(of_class), "AP@0.5": _mean(of_class[0])}
        return computed

    coco_tools.COCOEvalWrapper.ComputeMetrics = computing
    try:
        yield classes
    finally:
        coco_tools.COCOEvalWrapper.ComputeMetrics = original


def _mean(precision: Any) -> Any:
    known = precision[precision > -1]  # -1: no ground truth
    return float(known.mean()) if known.size else None
