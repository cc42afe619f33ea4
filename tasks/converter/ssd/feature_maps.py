"""Sizes of the maps an SSD predicts from, by family of feature extractor.

Every stride-2 layer of these extractors halves and rounds up (SAME padding, or explicit padding with the same result),
and halving k times with rounding up equals one division by 2**k rounded up. Exceptions are Inception V3's VALID stem,
and MobileNet V3 with explicit padding, which pads in front of SAME convolutions: its maps hang on every kernel.
Source: the extractors of the TF Object Detection API (``object_detection/models``).
"""

from __future__ import annotations

import re
from typing import Any, Optional

from jetlane.tasks.converter.ssd.config import PipelineConfig

Shape = tuple[int, int]

#: Extractors that predict from strides 16, 32, 64, ...: (pattern of the type, layers when the config does not say).
_HALVING = [
    (r"ssd_mobilenet_v[123](_large|_small)?(_keras)?", 6),
    (r"ssd_mobilenet_v1_ppn", 6),
    (r"ssd_resnet(50|101|152)_v1_ppn", 6),
    (r"ssd_mobilenet_edgetpu", 6),
    (r"ssd_mobiledet_(cpu|dsp|edgetpu|gpu)", 6),
    (r"ssd_inception_v2", 6),
    (r"embedded_ssd_mobilenet_v1", 5),
]
_PADS_TWICE = r"ssd_mobilenet_v3_(large|small)"
#: Extractors with one map per level of a pyramid, from ``fpn`` or ``bifpn``.
_PYRAMID = r"ssd_(mobilenet_v[12]|resnet(50|101|152)_v1)_fpn(_keras)?|ssd_efficientnet-b\d_bifpn_keras"

_MOST_LEVELS, _LARGEST_MULTIPLE = 16, 1024


def feature_map_shapes(config: PipelineConfig, size: Shape) -> Optional[tuple[Shape, ...]]:
    """(height, width) of each map for an input of ``size`` = (height, width) pixels, largest first.

    Returns:
        None for an extractor whose layout is not known here; the graph has to tell then.

    Raises:
        DerivationError: The extractor's own settings make no sense, by field and line.
    """
    extractor = config.ssd.feature_extractor
    _check(config, extractor)
    multiple = max(1, extractor.pad_to_multiple)
    height, width = (-(-side // multiple) * multiple for side in size)
    rows, columns = _sides(extractor, height), _sides(extractor, width)
    if rows is None or columns is None:
        return None
    if min(*rows, *columns) < 1:
        raise config.refuse("image_resizer", f"{height}x{width} pixels are too few for {extractor.type}")
    return tuple(zip(rows, columns))


def _check(config: PipelineConfig, extractor: Any) -> None:
    pyramid = re.fullmatch(_PYRAMID, extractor.type)
    if extractor.HasField("num_layers") and not 1 <= extractor.num_layers <= _MOST_LEVELS:
        raise config.refuse("feature_extractor.num_layers", f"it is {extractor.num_layers}")
    if extractor.pad_to_multiple > _LARGEST_MULTIPLE:
        raise config.refuse("feature_extractor.pad_to_multiple", f"it is {extractor.pad_to_multiple}")
    if pyramid:
        name = "bifpn" if "bifpn" in extractor.type else "fpn"
        levels = getattr(extractor, name)
        if not 0 <= levels.min_level <= levels.max_level <= _MOST_LEVELS:
            why = f"the levels {levels.min_level} to {levels.max_level} are no pyramid"
            raise config.refuse(f"feature_extractor.{name}", why)


def _sides(extractor: Any, side: int) -> Optional[list[int]]:
    kind = extractor.type
    if re.fullmatch(_PYRAMID, kind):
        levels = extractor.bifpn if "bifpn" in kind else extractor.fpn
        return [halved(side, level) for level in range(levels.min_level, levels.max_level + 1)]
    if extractor.use_explicit_padding and re.fullmatch(_PADS_TWICE, kind):
        return None
    layers = extractor.num_layers if extractor.HasField("num_layers") else None
    if kind == "ssd_inception_v3":
        return _inception_v3(side, layers or 6)
    for pattern, usual in _HALVING:
        if re.fullmatch(pattern, kind):
            return [halved(side, level) for level in range(4, 4 + (layers or usual))]
    return None


def halved(side: int, times: int) -> int:
    """``side`` halved ``times`` times, each time rounded up."""
    return -(-side // (1 << times))


def _inception_v3(side: int, layers: int) -> list[int]:
    """Mixed_5d, Mixed_6e, Mixed_7c, then halving: 3x3 layers without padding, stride 2 where it shrinks."""

    def valid(length: int) -> int:
        return (length - 3) // 2 + 1

    mixed5 = valid(valid(valid(side) - 2) - 2)
    mixed6 = valid(mixed5)
    mixed7 = valid(mixed6)
    return ([mixed5, mixed6, mixed7] + [halved(mixed7, times) for times in range(1, layers)])[:layers]
