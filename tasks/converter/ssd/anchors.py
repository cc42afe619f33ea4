"""Our reference of the Object Detection API's anchor generators, in numpy.

Formulas: ``object_detection/anchor_generators``. Anchors are float32 [N, 4] as xmin, ymin, xmax, ymax in fractions of
the network's frame, not clipped, ordered by feature map, row, column, box: the order of the box encodings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, int]
#: (scale, aspect ratio) of each box of a cell.
Specs = list[tuple[float, float]]

#: No detector has more, or anything so large; a config that asks for it is mistaken.
MOST_ANCHORS, MOST_LAYERS, FAR_OFF = 2_000_000, 32, 1e6


def anchors(generators: Any, shapes: Sequence[Shape], size: Shape, *, order_of_2017: bool = False) -> Optional[Array]:
    """Anchors of an ``anchor_generator`` message; None for a kind of generator that is not modelled here."""
    kind = generators.WhichOneof("anchor_generator_oneof")
    if kind == "ssd_anchor_generator":
        return ssd_anchors(generators.ssd_anchor_generator, shapes, size, order_of_2017=order_of_2017)
    if kind == "multiscale_anchor_generator":
        return multiscale_anchors(generators.multiscale_anchor_generator, shapes, size)
    return None


def ssd_anchors(generator: Any, shapes: Sequence[Shape], size: Shape, *, order_of_2017: bool = False) -> Array:
    """Anchors of an ``ssd_anchor_generator``.

    Args:
        generator: Its message.
        shapes: (height, width) of each feature map; as many as ``num_layers``.
        size: (height, width) of the network's input in pixels.
        order_of_2017: The interpolated box stands second in its cell instead of last, as the API made it in 2017.

    Raises:
        ValueError: The number of maps, strides or offsets does not fit ``num_layers``.
    """
    specs = ssd_specs(generator, order_of_2017=order_of_2017)
    if len(shapes) != len(specs):
        raise ValueError(f"{len(specs)} layers of anchors for {len(shapes)} feature maps")
    height, width = size
    shorter = min(size)
    base = (generator.base_anchor_height * shorter / height, generator.base_anchor_width * shorter / width)
    layers = []
    for index, (rows, columns) in enumerate(shapes):
        stride = (1 / rows, 1 / columns)
        if generator.height_stride:
            stride = (generator.height_stride[index] / height, generator.width_stride[index] / width)
        offset = (0.5 * stride[0], 0.5 * stride[1])
        if generator.height_offset:
            offset = (generator.height_offset[index] / height, generator.width_offset[index] / width)
        layers.append(_tile((rows, columns), specs[index], base, stride, offset))
    return np.concatenate(layers)


def ssd_specs(generator: Any, *, order_of_2017: bool = False) -> list[Specs]:
    """(scale, aspect ratio) of each box of a cell, for each layer.

    Raises:
        ValueError: One layer without explicit scales (the API divides by zero), or lists of the wrong length.
    """
    layers = generator.num_layers
    for name in ("height_stride", "width_stride", "height_offset", "width_offset"):
        if len(getattr(generator, name)) not in (0, layers):
            raise ValueError(f"{name} has {len(getattr(generator, name))} values for {layers} layers")
    scales = ssd_scales(generator)
    specs: list[Specs] = []
    for layer in range(layers):
        scale, following = scales[layer], scales[layer + 1]
        if layer == 0 and generator.reduce_boxes_in_lowest_layer:
            specs.append([(0.1, 1.0), (scale, 2.0), (scale, 0.5)])
            continue
        boxes = [(scale, ratio) for ratio in generator.aspect_ratios]
        if generator.interpolated_scale_aspect_ratio > 0:
            between = (float(np.sqrt(scale * following)), generator.interpolated_scale_aspect_ratio)
            boxes.insert(1 if order_of_2017 else len(boxes), between)
        specs.append(boxes)
    return specs


def ssd_scales(generator: Any) -> list[float]:
    """Scale of each layer, and 1.0 after the last."""
    layers = generator.num_layers
    if not 1 <= layers <= MOST_LAYERS:
        raise ValueError(f"num_layers is {layers}")
    if generator.scales:
        scales = list(generator.scales)
        if len(scales) != layers:
            raise ValueError(f"scales has {len(scales)} values for {layers} layers")
    elif layers < 2:
        raise ValueError("num_layers is 1: the scales are spread over num_layers - 1 steps")
    else:
        low, high = generator.min_scale, generator.max_scale
        scales = [low + (high - low) * layer / (layers - 1) for layer in range(layers)]
    if not all(0 < scale < FAR_OFF for scale in scales):
        raise ValueError("the scales have to be above 0")
    return [*scales, 1.0]


def multiscale_anchors(generator: Any, shapes: Sequence[Shape], size: Shape) -> Array:
    """Anchors of a ``multiscale_anchor_generator`` (RetinaNet, FPN); arguments as of ``ssd_anchors``.

    Where the input's side is not a multiple of a level's stride, the API puts that level's first centre at 0 rather
    than at half a stride.

    Raises:
        ValueError: The number of maps does not fit the levels.
    """
    if not 0 <= generator.min_level <= generator.max_level <= MOST_LAYERS:
        raise ValueError(f"the levels {generator.min_level} to {generator.max_level} are no pyramid")
    if not 1 <= generator.scales_per_octave <= MOST_LAYERS:
        raise ValueError(f"scales_per_octave is {generator.scales_per_octave}")
    levels = range(generator.min_level, generator.max_level + 1)
    if len(shapes) != len(levels):
        raise ValueError(f"{len(levels)} levels of anchors for {len(shapes)} feature maps")
    octave = [2 ** (step / generator.scales_per_octave) for step in range(generator.scales_per_octave)]
    specs = [(scale, ratio) for ratio in generator.aspect_ratios for scale in octave]
    height, width = size
    layers = []
    for level, shape in zip(levels, shapes):
        stride = 2**level
        base = (generator.anchor_scale * stride / height, generator.anchor_scale * stride / width)
        offset = tuple(stride / 2 / side if side % stride == 0 else 0.0 for side in size)
        layers.append(_tile(shape, specs, base, (stride / height, stride / width), offset))
    return np.concatenate(layers)


def by_level(own: Array, maps: Sequence[Shape], per_cell: Sequence[int]) -> list[Array]:
    """Anchors of all levels [N, 4], by row, column and box, as one [rows, columns, boxes, 4] per level.

    Args:
        maps, per_cell: Per level, (height, width) of the feature map and boxes per cell; together they make N.
    """
    found, begin = [], 0
    for (rows, columns), boxes in zip(maps, per_cell):
        end = begin + rows * columns * boxes
        found.append(own[begin:end].reshape(rows, columns, boxes, 4))
        begin = end
    return found


def _tile(shape: Shape, specs: Specs, base: Sequence[float], stride: Sequence[float], offset: Sequence[float]) -> Array:
    """One grid: boxes of ``specs`` x ``base`` (height, width) at offset + index * stride (y, x)."""
    rows, columns = shape
    if rows * columns * len(specs) > MOST_ANCHORS:
        raise ValueError(f"a {rows}x{columns} feature map with {len(specs)} boxes a cell is more than can be meant")
    if not specs:
        raise ValueError("a cell has no boxes")
    if not all(0 < number < FAR_OFF for spec in specs for number in spec):
        raise ValueError("scales and aspect ratios have to be above 0, and of a size that makes sense")
    if not all(abs(number) < FAR_OFF for number in (*base, *stride, *offset)):
        raise ValueError("sizes, strides and offsets have to be of a size that makes sense")
    scales, ratios = np.asarray(specs, np.float64).T
    half_height, half_width = scales / np.sqrt(ratios) * base[0] / 2, scales * np.sqrt(ratios) * base[1] / 2
    y = (np.arange(rows) * stride[0] + offset[0])[:, None, None]
    x = (np.arange(columns) * stride[1] + offset[1])[None, :, None]
    boxes = np.empty((rows, columns, len(specs), 4), np.float32)
    boxes[..., 0], boxes[..., 1] = x - half_width, y - half_height
    boxes[..., 2], boxes[..., 3] = x + half_width, y + half_height
    return boxes.reshape(-1, 4)
