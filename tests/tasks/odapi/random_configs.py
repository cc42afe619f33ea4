"""Random valid pipeline.configs: fields of the Object Detection API, as people set them, on a small SSD."""

from __future__ import annotations

import random
from typing import Any

from google.protobuf import text_format

from jetlane.tasks.converter.ssd import config
from jetlane.tasks.odapi.pipeline import ModelSettings, render

#: Extractors that build at 96 to 160 pixels with the anchors drawn here, and the template whose predictor suits them.
EXTRACTORS = {
    "ssd_mobilenet_v1": "ssd_mobilenet_v1",
    "ssd_mobilenet_v2": "ssd_mobilenet_v2",
    "ssd_mobilenet_v3_small": "ssdlite_mobilenet_v2",
    "ssd_mobiledet_cpu": "ssdlite_mobilenet_v2",
    "ssd_inception_v2": "ssd_inception_v2",
}


def draw(number: int) -> str:
    """The text of config ``number``: always the same."""
    rng = random.Random(number)
    extractor = rng.choice(sorted(EXTRACTORS))
    settings = ModelSettings(
        architecture=EXTRACTORS[extractor],
        width=rng.choice((96, 128, 160)),
        height=rng.choice((96, 128, 160)),
        depth_multiplier=rng.choice((0.25, 0.35, 0.5)),
        batch_size=2,
        steps=2,
    )
    message = config.parse(render(settings, num_classes=3)).message
    ssd = message.model.ssd
    ssd.feature_extractor.type = extractor
    for change in (_resizer, _extractor, _anchors, _coder, _predictor, _post_processing, _head):
        change(ssd, rng)
    return str(text_format.MessageToString(message))


def _sometimes(rng: random.Random, share: float = 0.15) -> bool:
    return rng.random() < share


def _resizer(ssd: Any, rng: random.Random) -> None:
    fixed = ssd.image_resizer.fixed_shape_resizer
    if _sometimes(rng):
        fixed.resize_method = rng.choice((1, 2, 3))
    if _sometimes(rng, 0.05):
        fixed.convert_to_grayscale = True
    if _sometimes(rng, 0.25):
        side = fixed.height
        keep = ssd.image_resizer.keep_aspect_ratio_resizer
        keep.min_dimension, keep.max_dimension = rng.choice(((side // 2, side), (side, side)))
        keep.pad_to_max_dimension = rng.random() < 0.7
        if _sometimes(rng):
            keep.per_channel_pad_value[:] = [123.68, 116.779, 103.939]


def _extractor(ssd: Any, rng: random.Random) -> None:
    extractor = ssd.feature_extractor
    if _sometimes(rng):
        extractor.use_explicit_padding = True
    if _sometimes(rng):
        extractor.min_depth = rng.choice((8, 16))
    if _sometimes(rng):
        extractor.use_depthwise = not extractor.use_depthwise
    if _sometimes(rng):
        extractor.pad_to_multiple = rng.choice((1, 32))
    if _sometimes(rng) and extractor.type not in ("ssd_mobilenet_v3_small", "ssd_mobiledet_cpu"):
        extractor.num_layers = 5
        ssd.anchor_generator.ssd_anchor_generator.num_layers = 5


def _anchors(ssd: Any, rng: random.Random) -> None:
    anchors = ssd.anchor_generator.ssd_anchor_generator
    anchors.min_scale, anchors.max_scale = rng.choice(((0.2, 0.95), (0.1, 0.9), (0.05, 0.8), (0.15, 1.0)))
    anchors.aspect_ratios[:] = rng.choice(
        ([1, 2, 0.5, 3, 0.3333], [1, 2, 0.5], [1], [0.5, 1, 2, 3], [1, 1.5, 0.7], [1, 2, 3, 0.5, 0.3333])
    )
    if _sometimes(rng):
        anchors.reduce_boxes_in_lowest_layer = False
    if _sometimes(rng):
        anchors.interpolated_scale_aspect_ratio = rng.choice((0.0, 0.5))
    if _sometimes(rng):
        anchors.base_anchor_height, anchors.base_anchor_width = rng.choice(((1.0, 0.5), (0.7, 0.7)))
    if _sometimes(rng, 0.1):
        anchors.scales[:] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.85][: anchors.num_layers]
    if _sometimes(rng, 0.1):
        anchors.height_stride[:] = [8, 16, 32, 64, 100, 300][: anchors.num_layers]
        anchors.width_stride[:] = anchors.height_stride
        anchors.height_offset[:] = [4, 8, 16, 32, 50, 150][: anchors.num_layers]
        anchors.width_offset[:] = anchors.height_offset


def _coder(ssd: Any, rng: random.Random) -> None:
    coder = ssd.box_coder.faster_rcnn_box_coder
    if _sometimes(rng, 0.3):
        coder.y_scale, coder.x_scale = rng.choice(((10, 10), (8, 12), (5, 5)))
        coder.height_scale, coder.width_scale = rng.choice(((5, 5), (4, 2), (10, 1)))
    if _sometimes(rng, 0.05):
        ssd.box_coder.mean_stddev_box_coder.stddev = 0.1


def _predictor(ssd: Any, rng: random.Random) -> None:
    predictor = ssd.box_predictor.convolutional_box_predictor
    if _sometimes(rng):
        predictor.kernel_size = 4 - predictor.kernel_size if predictor.kernel_size in (1, 3) else 3
    if _sometimes(rng):
        predictor.use_depthwise = not predictor.use_depthwise
    if _sometimes(rng):
        predictor.max_depth, predictor.num_layers_before_predictor, predictor.min_depth = 32, 1, 16
    if _sometimes(rng, 0.1):
        predictor.apply_sigmoid_to_scores = True
    if _sometimes(rng):
        predictor.use_dropout = True


def _post_processing(ssd: Any, rng: random.Random) -> None:
    processing = ssd.post_processing
    nms = processing.batch_non_max_suppression
    processing.score_converter = rng.choice((1, 1, 1, 2, 0))
    nms.score_threshold = rng.choice((1e-8, 1e-8, 0.0, 0.2, 0.35))
    nms.iou_threshold = rng.choice((0.6, 0.5, 0.45, 0.99))
    nms.max_detections_per_class = rng.choice((100, 100, 20, 200))
    nms.max_total_detections = max(rng.choice((100, 100, 10, 300)), nms.max_detections_per_class)
    if _sometimes(rng, 0.08):
        nms.use_class_agnostic_nms = True
    if _sometimes(rng, 0.08):
        nms.soft_nms_sigma = 0.5
    if _sometimes(rng, 0.08):
        nms.use_static_shapes = True
    if _sometimes(rng, 0.1):
        processing.logit_scale = 2.0


def _head(ssd: Any, rng: random.Random) -> None:
    if _sometimes(rng, 0.3):
        ssd.encode_background_as_zeros = True
    if _sometimes(rng, 0.05):
        ssd.add_background_class = False
    if _sometimes(rng, 0.2):
        ssd.normalize_loss_by_num_matches = not ssd.normalize_loss_by_num_matches
