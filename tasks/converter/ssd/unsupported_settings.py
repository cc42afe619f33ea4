"""What no route can carry: settings of a pipeline.config that TensorRT's plugins lack, each refused by its own line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from jetlane.tasks.converter.ssd.config import PipelineConfig

#: (whether it is so, field below model.ssd, why it cannot be, what to do)
Refusal = tuple[bool, str, str, str]

_CONVERTED = "scores are converted once, behind the concatenation of all levels"
_BACKGROUND = "labels are counted with class 0 as the background"


def refuse_inexpressible(config: PipelineConfig) -> None:
    """Let a config pass whose settings can be expressed.

    Raises:
        DerivationError: The first that cannot, by its field and line.
    """
    ssd = config.ssd
    for refusals in (_model(ssd), _box_coder(ssd.box_coder), _post_processing(ssd.post_processing)):
        for wrong, field, why, remedy in refusals:
            if wrong:
                raise config.refuse(field, why, remedy)


def _model(ssd: Any) -> Iterator[Refusal]:
    yield ssd.num_classes < 1, "num_classes", f"it is {ssd.num_classes}", "give the number of classes"
    yield not ssd.anchor_generator.WhichOneof("anchor_generator_oneof"), "anchor_generator", "none is given", ""
    yield not ssd.add_background_class, "add_background_class", _BACKGROUND, ""
    yield ssd.explicit_background_class, "explicit_background_class", _BACKGROUND, ""
    yield ssd.HasField("mask_head_config"), "mask_head_config", "NMS_TRT gives boxes only", ""
    kind = ssd.box_predictor.WhichOneof("box_predictor_oneof")
    codes = getattr(getattr(ssd.box_predictor, kind), "box_code_size", 4) if kind else 4
    yield codes != 4, f"box_predictor.{kind}.box_code_size", "NMS_TRT reads four codes per box", ""
    once = "{} and export again; post_processing.score_converter: SIGMOID makes scores of logits"
    shared = ssd.box_predictor.weight_shared_convolutional_box_predictor
    yield (
        ssd.box_predictor.convolutional_box_predictor.apply_sigmoid_to_scores,
        "box_predictor.convolutional_box_predictor.apply_sigmoid_to_scores",
        _CONVERTED,
        once.format("set it to false"),
    )
    yield (
        shared.score_converter != 0,  # IDENTITY
        "box_predictor.weight_shared_convolutional_box_predictor.score_converter",
        _CONVERTED,
        once.format("set it to IDENTITY"),
    )


def _box_coder(coder: Any) -> Iterator[Refusal]:
    kind = coder.WhichOneof("box_coder_oneof")
    field = f"box_coder.{kind}" if kind else "box_coder"
    yield kind != "faster_rcnn_box_coder", field, "NMS_TRT decodes faster_rcnn_box_coder only", ""
    own = coder.faster_rcnn_box_coder
    scales = (own.y_scale, own.x_scale, own.height_scale, own.width_scale)
    yield not all(0 < scale < math.inf for scale in scales), field, "its scales have to be above 0", ""


def _post_processing(processing: Any) -> Iterator[Refusal]:
    nms, prefix = processing.batch_non_max_suppression, "post_processing.batch_non_max_suppression."
    again = "{} and export again"
    yield (
        nms.soft_nms_sigma != 0,
        f"{prefix}soft_nms_sigma",
        "NMS_TRT has no soft suppression",
        again.format("set it to 0"),
    )
    yield (
        nms.use_class_agnostic_nms,
        f"{prefix}use_class_agnostic_nms",
        "NMS_TRT suppresses class by class",
        again.format("set it to false"),
    )
    for name in ("max_detections_per_class", "max_total_detections"):
        yield getattr(nms, name) < 1, prefix + name, "it has to be 1 or more", ""
    iou, score, scale = nms.iou_threshold, nms.score_threshold, processing.logit_scale
    yield not 0 <= iou <= 1, f"{prefix}iou_threshold", f"{iou:g} is not in 0 to 1", ""
    yield not -math.inf < score < math.inf, f"{prefix}score_threshold", f"{score:g} is no score", ""
    yield not 0 < scale < math.inf, "post_processing.logit_scale", f"{scale:g} is no scale", ""
    yield (
        processing.HasField("calibration_config"),
        "post_processing.calibration_config",
        "NMS_TRT has no calibration of scores",
        again.format("remove it"),
    )
