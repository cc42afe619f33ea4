"""What a pipeline.config says of the network's input: size, resize, normalisation."""

from __future__ import annotations

import re

from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.params import InputSpec, Normalization, Resize

#: Means of the VGG style of preprocessing, RGB, 0..255 (``ssd_resnet_v1_fpn_feature_extractor.preprocess``).
_VGG_MEANS = (123.68, 116.779, 103.939)
#: ImageNet's means and deviations, 0..1 (``ssd_efficientnet_bifpn_feature_extractor.preprocess``).
_IMAGENET_MEANS, _IMAGENET_DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Longest side of the network's input, pixels; no SSD is run on more.
LARGEST_SIDE = 8192


def input_spec(config: PipelineConfig) -> InputSpec:
    """The network's input. Its order of steps is that of exports from 2020 on; only a graph can tell an older one.

    Raises:
        DerivationError: A resizer or extractor whose input cannot be reproduced, by field and line.
    """
    height, width, resize = _resize(config)
    return InputSpec(height, width, resize, _normalization(config))


def _resize(config: PipelineConfig) -> tuple[int, int, Resize]:
    resizer = config.ssd.image_resizer
    kind = resizer.WhichOneof("image_resizer_oneof")
    field = f"image_resizer.{kind}" if kind else "image_resizer"
    if kind not in ("fixed_shape_resizer", "keep_aspect_ratio_resizer"):
        raise config.refuse(
            field,
            "the network needs one fixed input size",
            "use fixed_shape_resizer, or keep_aspect_ratio_resizer with pad_to_max_dimension: true",
        )
    chosen = getattr(resizer, kind)
    if chosen.resize_method != 0:
        raise config.refuse(f"{field}.resize_method", "images are resized bilinearly on the board", "use BILINEAR")
    if chosen.convert_to_grayscale:
        raise config.refuse(f"{field}.convert_to_grayscale", "the network's input has three channels")
    if kind == "fixed_shape_resizer":
        for name in ("height", "width"):
            if not 1 <= getattr(chosen, name) <= LARGEST_SIDE:
                raise config.refuse(f"{field}.{name}", f"it is {getattr(chosen, name)} pixels, not 1 to {LARGEST_SIDE}")
        return chosen.height, chosen.width, Resize("fixed_shape")
    if not chosen.pad_to_max_dimension:
        raise config.refuse(
            f"{field}.pad_to_max_dimension",
            "without it the network's size changes with the image",
            "set pad_to_max_dimension: true and export again",
        )
    if not 1 <= chosen.min_dimension <= chosen.max_dimension <= LARGEST_SIDE:
        why = f"{chosen.min_dimension} to {chosen.max_dimension} is no range within 1 to {LARGEST_SIDE} pixels"
        raise config.refuse(f"{field}.max_dimension", why)
    pad = tuple(chosen.per_channel_pad_value) or (0.0, 0.0, 0.0)
    if len(pad) != 3:
        raise config.refuse(f"{field}.per_channel_pad_value", f"it has {len(pad)} values for three channels")
    side = chosen.max_dimension
    return side, side, Resize("keep_aspect_ratio", chosen.min_dimension, side, True, (pad[0], pad[1], pad[2]))


def _normalization(config: PipelineConfig) -> Normalization:
    extractor = config.ssd.feature_extractor
    if extractor.replace_preprocessor_with_placeholder:
        raise config.refuse(
            "feature_extractor.replace_preprocessor_with_placeholder",
            "such a graph has no normalisation to carry over",
            "set it to false and export again",
        )
    if re.search(r"resnet\d+", extractor.type):
        red, green, blue = _VGG_MEANS
        return Normalization((1.0, 1.0, 1.0), (-red, -green, -blue))
    if "efficientnet" in extractor.type:
        pairs = list(zip(_IMAGENET_MEANS, _IMAGENET_DEVIATIONS))
        scale = [1 / 255 / deviation for _, deviation in pairs]
        offset = [-mean / deviation for mean, deviation in pairs]
        return Normalization((scale[0], scale[1], scale[2]), (offset[0], offset[1], offset[2]))
    return Normalization()
