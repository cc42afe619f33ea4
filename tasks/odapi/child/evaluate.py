"""COCO metrics of a checkpoint, by the OD API's own evaluator (pycocotools beneath it)."""

from __future__ import annotations

from typing import Any

from . import configs, counted, widths
from .class_metrics import BOXES, Classes, per_class


def run(arguments: dict[str, Any], emit: Any) -> dict[str, Any]:
    """Evaluate.

    Args:
        arguments: See ``configs.estimator_and_inputs``; also ``checkpoint`` (prefix), ``out`` (TensorBoard events) and
            ``score`` (of detections that the confusion matrix counts).
    """
    made = configs.estimator_and_inputs(arguments, arguments["out"])
    table = widths.beside(arguments["checkpoint"])
    with per_class(arguments["score"]) as classes, widths.applied(table):
        measured = made["estimator"].evaluate(
            made["eval_input_fns"][0],
            steps=None,
            hooks=[counted.hook(counted.Counted(emit))],
            checkpoint_path=arguments["checkpoint"],
            name="validation",
        )
    return facts_of(measured, classes, int(measured["global_step"]))


def facts_of(measured: dict[str, Any], classes: Classes, step: int) -> dict[str, Any]:
    """The facts of an evaluation, of what the OD API measured."""
    coco = {name[len(BOXES) :]: float(value) for name, value in measured.items() if name.startswith(BOXES)}
    losses = {name: float(value) for name, value in measured.items() if name.startswith("Loss/")}
    return {
        "mAP": coco["Precision/mAP"],
        "mAP@0.5": coco["Precision/mAP@.50IOU"],
        "mAP@0.75": coco["Precision/mAP@.75IOU"],
        "per_class": dict(classes),
        **classes.detail,
        "coco": coco,
        "losses": losses,
        "images": classes.images,
        "step": step,
    }
