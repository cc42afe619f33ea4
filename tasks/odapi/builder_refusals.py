"""What the Object Detection API's builders, extractors and predictors refuse of an SSD as they are built to train it.

Source: object_detection/builders, models and predictors/heads of its release 2.8; a test asks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jetlane.tasks.odapi.loops import is_keras_type

#: (whether it is so, field below the config's root, why it cannot be, what to do)
Refusal = tuple[bool, str, str, str]

_SSD, _EXTRACTOR, _PREDICTOR = "model.ssd.", "model.ssd.feature_extractor.", "model.ssd.box_predictor."
#: Extractors that take ``num_layers``.
_LAYERED = (
    *("ssd_inception_v2", "ssd_inception_v3", "ssd_mobilenet_v1", "ssd_mobilenet_v1_ppn", "ssd_mobilenet_v2"),
    *("ssd_pnasnet", "ssd_mobilenet_v1_keras", "ssd_mobilenet_v2_keras"),
)
#: Height and width, in pixels.
_LEAST_RESNET = 129
_CONVOLUTIONAL, _SHARED = "convolutional_box_predictor", "weight_shared_convolutional_box_predictor"


def refusals(pipeline: Any) -> Iterator[Refusal]:
    """Every demand that a ``TrainEvalPipelineConfig`` of a known extractor may fail."""
    ssd = pipeline.model.ssd
    yield from _extractor(ssd)
    yield from _sizes(ssd)
    yield from _hyperparameters(ssd.feature_extractor, _EXTRACTOR, is_keras_type(ssd.feature_extractor.type))
    yield from _predictor(ssd)
    yield from _training(ssd)
    yield from _optimizer(pipeline.train_config.optimizer)


def _extractor(ssd: Any) -> Iterator[Refusal]:
    """Arguments that an extractor's constructor does not have, or refuses."""
    own, kind = ssd.feature_extractor, ssd.feature_extractor.type
    keras, bidirectional = is_keras_type(kind), "bifpn" in kind
    pyramid = kind.removesuffix("_keras").endswith("fpn") and not bidirectional
    for name, takes, why in (
        ("num_layers", kind in _LAYERED, "its number of layers is fixed"),
        ("fpn", pyramid, "it has no feature pyramid"),
        ("bifpn", bidirectional, "it has no bidirectional feature pyramid"),
        ("spaghettinet_arch_name", kind == "ssd_spaghettinet", "it is no SpaghettiNet"),
        ("replace_preprocessor_with_placeholder", False, "it always has its preprocessor"),
    ):
        yield own.HasField(name) and not takes, _EXTRACTOR + name, why, "remove it"
    yield (
        own.use_explicit_padding
        and (kind.startswith(("ssd_mobiledet", "ssd_mobilenet_edgetpu")) or ("resnet" in kind and pyramid))
        and not keras,
        f"{_EXTRACTOR}use_explicit_padding",
        "it has no explicit padding",
        "set it to false",
    )
    yield (
        kind.startswith("ssd_inception") and not own.override_base_feature_extractor_hyperparams,
        f"{_EXTRACTOR}override_base_feature_extractor_hyperparams",
        "it always takes the config's conv_hyperparams",
        "set it to true",
    )
    yield (
        kind.endswith("v1_ppn") and "resnet" in kind and own.depth_multiplier != 1,
        f"{_EXTRACTOR}depth_multiplier",
        "its depth is fixed",
        "set it to 1",
    )


def _sizes(ssd: Any) -> Iterator[Refusal]:
    own, kind = ssd.feature_extractor, ssd.feature_extractor.type
    fixed, embedded = ssd.image_resizer.fixed_shape_resizer, kind.startswith("embedded")
    yield embedded and own.pad_to_multiple != 1, f"{_EXTRACTOR}pad_to_multiple", "it takes 1 alone", "set it to 1"
    yield (
        embedded and (fixed.height, fixed.width) != (256, 256),
        f"{_SSD}image_resizer",
        "it takes 256 x 256 pixels alone",
        "use fixed_shape_resizer { height: 256 width: 256 }",
    )
    keep = ssd.image_resizer.keep_aspect_ratio_resizer
    sides = [fixed.height, fixed.width] if ssd.image_resizer.HasField("fixed_shape_resizer") else [keep.max_dimension]
    yield (
        "resnet" in kind and min(sides) < _LEAST_RESNET,
        f"{_SSD}image_resizer",
        f"it takes {_LEAST_RESNET} pixels or more",
        "make the image larger",
    )
    yield (
        kind.endswith("mnasfpn") and (own.fpn.min_level, own.fpn.max_level) != (3, 6),
        f"{_EXTRACTOR}fpn",
        "it takes the levels 3 to 6 alone",
        "set min_level: 3 and max_level: 6",
    )
    if kind.endswith("_fpn_keras"):
        yield from _keras_pyramid(own, sides)


def _keras_pyramid(own: Any, sides: list[int]) -> Iterator[Refusal]:
    """Feature maps of the backbone, of which a coarser one is doubled and added to the next."""
    levels, backbone = own.fpn, (2, 5)
    if "resnet" in own.type:  # its own constructor takes no other, whatever the config says
        yield (
            (levels.min_level, levels.max_level) != (3, 7),
            f"{_EXTRACTOR}fpn",
            "it makes the levels 3 to 7 alone",
            "set min_level: 3 and max_level: 7",
        )
    low, high = levels.min_level, min(levels.max_level, backbone[1])
    yield (
        not backbone[0] <= low <= high,
        f"{_EXTRACTOR}fpn.min_level",
        f"its backbone has the levels {backbone[0]} to {backbone[1]}",
        "set min_level: 3, as the bundled templates do",
    )
    multiple, doubled = max(1, own.pad_to_multiple), 2**high
    padded = [-(-side // multiple) * multiple for side in sides]
    cut = own.use_explicit_padding and "resnet" not in own.type  # then the doubled map is cut to the other's size
    yield (
        not cut and any(-(-side // 2**low) % 2 ** max(0, high - low) for side in padded),
        f"{_SSD}image_resizer",
        f"its feature maps of {' x '.join(map(str, sides))} pixels cannot be halved {high - low} times without a rest",
        f"make width and height multiples of {doubled}, or set feature_extractor.pad_to_multiple: {doubled}",
    )


def _hyperparameters(owner: Any, prefix: str, of_keras: bool) -> Iterator[Refusal]:
    if of_keras:
        return
    own, keras = owner.conv_hyperparams, "only the API's Keras models have it"
    yield own.force_use_bias, f"{prefix}conv_hyperparams.force_use_bias", keras, "remove it"
    yield own.HasField("sync_batch_norm"), f"{prefix}conv_hyperparams.sync_batch_norm", keras, "use batch_norm"


def _predictor(ssd: Any) -> Iterator[Refusal]:
    kind = ssd.box_predictor.WhichOneof("box_predictor_oneof")
    yield (
        kind not in (_CONVOLUTIONAL, _SHARED),
        _PREDICTOR + kind if kind else f"{_SSD}box_predictor",
        f"an SSD predicts by {_CONVOLUTIONAL} or {_SHARED}",
        "use one of these",
    )
    if kind in (_CONVOLUTIONAL, _SHARED):
        of_keras = is_keras_type(ssd.feature_extractor.type)
        yield from _hyperparameters(getattr(ssd.box_predictor, kind), f"{_PREDICTOR}{kind}.", of_keras)
    anchors = ssd.anchor_generator.ssd_anchor_generator
    for name in (_CONVOLUTIONAL, _SHARED):
        chosen = getattr(ssd.box_predictor, name)
        yield (
            chosen.use_depthwise and chosen.kernel_size == 1,
            f"{_PREDICTOR}{name}.kernel_size",
            "a depthwise predictor has no kernel of 1 x 1",
            "set it to 3, or use_depthwise to false",
        )
    per_place = len(anchors.aspect_ratios) + (anchors.interpolated_scale_aspect_ratio > 0)
    yield (
        kind == _SHARED
        and ssd.anchor_generator.HasField("ssd_anchor_generator")
        and anchors.reduce_boxes_in_lowest_layer
        and per_place != 3,
        f"{_SSD}anchor_generator.ssd_anchor_generator.reduce_boxes_in_lowest_layer",
        f"{_SHARED} makes as many boxes in a place of every layer; here the first would have 3, others {per_place}",
        "set it to false",
    )


def _training(ssd: Any) -> Iterator[Refusal]:
    """Matching and losses, and the suppression, which is built for training too."""
    for owner, prefix, name, oneof in (
        (ssd.matcher, _SSD, "matcher", "matcher_oneof"),
        (ssd.similarity_calculator, _SSD, "similarity_calculator", "region_similarity"),
        (ssd.loss.classification_loss, f"{_SSD}loss.", "classification_loss", "classification_loss"),
        (ssd.loss.localization_loss, f"{_SSD}loss.", "localization_loss", "localization_loss"),
    ):
        yield owner.WhichOneof(oneof) is None, prefix + name, "none is given", "name one, as the bundled templates do"
    yield (
        ssd.loss.HasField("hard_example_miner") and ssd.loss.classification_loss.HasField("weighted_sigmoid_focal"),
        f"{_SSD}loss.hard_example_miner",
        "a focal loss weighs hard examples itself",
        "remove it",
    )
    sampler = ssd.loss.random_example_sampler
    yield (
        ssd.loss.HasField("random_example_sampler") and sampler.positive_sample_fraction <= 0,
        f"{_SSD}loss.random_example_sampler.positive_sample_fraction",
        "it has to be above 0",
        "",
    )
    nms = ssd.post_processing.batch_non_max_suppression
    each, total = nms.max_detections_per_class, nms.max_total_detections
    yield (
        each > total,
        f"{_SSD}post_processing.batch_non_max_suppression.max_detections_per_class",
        f"{each} of one class are more than the {total} of max_total_detections",
        f"set it to {total} or less",
    )


def _optimizer(optimizer: Any) -> Iterator[Refusal]:
    prefix, kind = "train_config.optimizer", optimizer.WhichOneof("optimizer")
    yield kind is None, prefix, "none is given", "name one, as the bundled templates do"
    if kind is None:
        return
    field = f"{prefix}.{kind}.learning_rate"
    rate = getattr(optimizer, kind).learning_rate
    yield rate.WhichOneof("learning_rate") is None, field, "none is given", "name one, as the bundled templates do"
    yield (
        rate.HasField("manual_step_learning_rate") and not rate.manual_step_learning_rate.schedule,
        f"{field}.manual_step_learning_rate.schedule",
        "it is empty",
        "give its steps, or use constant_learning_rate",
    )
