"""Which field of anchor_generator explains that a graph's anchors are not those of its pipeline.config.

Sizes, ratios, strides and offsets are read off the graph's own anchors. Each is put into the config alone: where the
anchors then are the graph's, that field is the one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.protobuf import set_field
from jetlane.tasks.converter.ssd import anchors

Array = np.ndarray[Any, Any]
Shape = tuple[int, int]
#: Field -> value; an empty list takes the field away.
Change = dict[str, Any]

#: People write few digits: the fewest that give the graph's anchors are the value.
_DIGITS = (2, 3, 4, 5, 6, 7)
_MOST_OCTAVES = 6
_LEVEL_SHIFTS = (-2, -1, 1, 2)


@dataclass(frozen=True)
class Explanation:
    """One field, or a pair of fields that go together.

    Attributes:
        fields: Names below the generator.
        said, found: What the config says of them and what gives the graph's anchors, as text.
    """

    fields: tuple[str, ...]
    said: str
    found: str


@dataclass(frozen=True)
class _Cells:
    """What the graph's anchors say.

    Attributes:
        sizes: Per level, height and width of each box of a cell, fractions of the frame.
        centres: Per level, y of the rows' and x of the columns' centres.
    """

    sizes: tuple[Array, ...]
    centres: tuple[tuple[Array, Array], ...]


def explain_difference(
    generators: Any, maps: Sequence[Shape], per_cell: Sequence[int], size: Shape, own: Array, tolerance: float
) -> Optional[Explanation]:
    """The change of a single field, or pair, that makes the config's anchors the graph's; None where there is none.

    Args:
        generators: The ``anchor_generator`` message.
        maps, per_cell: Per level, (height, width) of the feature map and boxes per cell.
        size: (height, width) of the network's input.
        own: The graph's anchors, float32 [N, 4]: xmin, ymin, xmax, ymax.
        tolerance: Largest difference of a coordinate.
    """
    kind = generators.WhichOneof("anchor_generator_oneof")
    cells = _cells(maps, per_cell, own)
    if cells is None or kind not in ("ssd_anchor_generator", "multiscale_anchor_generator"):
        return None
    generator = getattr(generators, kind)
    candidates = (
        _of_ssd(generator, cells, size) if kind == "ssd_anchor_generator" else _of_pyramid(generator, cells, size)
    )
    for change in candidates:
        for digits in _DIGITS:
            rounded = {field: _rounded(value, digits) for field, value in change.items()}
            changed = _changed(generators, kind, rounded)
            if changed is not None and _makes(changed, maps, size, own, tolerance):
                said = ", ".join(f"{field} {_shown(_value(generator, field))}" for field in change)
                found = ", ".join(f"{field}: {_shown(value)}" for field, value in rounded.items())
                return Explanation(tuple(change), said, found)
            if rounded == change:
                break
    return None


def _cells(maps: Sequence[Shape], per_cell: Sequence[int], own: Array) -> Optional[_Cells]:
    counts = [rows * columns * boxes for (rows, columns), boxes in zip(maps, per_cell)]
    if sum(counts) != len(own) or not all(counts):
        return None
    sizes, centres = [], []
    for level in anchors.by_level(own.astype(np.float64), maps, per_cell):
        sizes.append(np.stack([level[0, 0, :, 3] - level[0, 0, :, 1], level[0, 0, :, 2] - level[0, 0, :, 0]], 1))
        y, x = (level[..., 1] + level[..., 3]) / 2, (level[..., 0] + level[..., 2]) / 2
        centres.append((y[:, 0].mean(1), x[0].mean(1)))
    return _Cells(tuple(sizes), tuple(centres))


def _of_ssd(generator: Any, cells: _Cells, size: Shape) -> Iterator[Change]:
    height, width = size
    shorter = min(size)
    base = np.array([generator.base_anchor_height * shorter / height, generator.base_anchor_width * shorter / width])
    yield {"reduce_boxes_in_lowest_layer": not generator.reduce_boxes_in_lowest_layer}
    relative = [sizes / base for sizes in cells.sizes]
    scales = [np.sqrt(sizes.prod(1)) for sizes in relative]
    ratios = [sizes[:, 1] / sizes[:, 0] for sizes in relative]
    # The lowest layer's first box is 0.1 wide where its boxes are reduced; the second then has the layer's scale.
    first = [float(scale[min(1, len(scale) - 1)] if not place else scale[0]) for place, scale in enumerate(scales)]
    plain = [float(scale[0]) for scale in scales]
    yield {"min_scale": first[0]}
    yield {"min_scale": plain[0]}
    yield {"max_scale": first[-1]}
    yield {"min_scale": first[0], "max_scale": first[-1]}
    yield {"aspect_ratios": [float(ratio) for ratio in ratios[-1][:-1]]}
    yield {"aspect_ratios": [float(ratio) for ratio in ratios[-1]]}
    yield {"interpolated_scale_aspect_ratio": 0.0}
    yield {"interpolated_scale_aspect_ratio": 1.0}
    yield {"interpolated_scale_aspect_ratio": float(ratios[-1][-1])}
    yield {"scales": []}
    yield {"scales": first}
    yield {"scales": plain}
    yield from _placing(generator, cells, size)
    yield from _base(generator, cells, size)


def _placing(generator: Any, cells: _Cells, size: Shape) -> Iterator[Change]:
    """Strides and offsets, taken away or as the centres of the graph's cells have them."""
    for names in (("height_stride", "width_stride"), ("height_offset", "width_offset")):
        yield {name: [] for name in names}
    yield {name: [] for name in ("height_stride", "width_stride", "height_offset", "width_offset")}
    offsets, strides = [], []
    for axis in (0, 1):
        centres = [level[axis] * size[axis] for level in cells.centres]
        offsets.append([float(np.rint(one[0])) for one in centres])
        strides.append([float(np.rint(one[1] - one[0] if len(one) > 1 else 2 * one[0])) for one in centres])
    whole = [{"height": sides[0], "width": sides[1]} for sides in ([*map(_ints, strides)], [*map(_ints, offsets)])]
    for name, found in zip(("stride", "offset"), whole):
        yield {f"height_{name}": found["height"]}
        yield {f"width_{name}": found["width"]}
        yield {f"height_{name}": found["height"], f"width_{name}": found["width"]}


def _ints(values: list[float]) -> list[int]:
    return [int(value) for value in values]


def _base(generator: Any, cells: _Cells, size: Shape) -> Iterator[Change]:
    """The base anchor's sides, from a box whose scale and ratio are the config's."""
    try:
        specs = anchors.ssd_specs(generator)
    except ValueError:
        return
    if len(specs) != len(cells.sizes) or not specs[-1]:
        return
    scale, ratio = specs[-1][0]
    height, width = cells.sizes[-1][0]
    shorter = min(size)
    tall = float(height / (scale / np.sqrt(ratio)) * size[0] / shorter)
    wide = float(width / (scale * np.sqrt(ratio)) * size[1] / shorter)
    yield {"base_anchor_height": tall}
    yield {"base_anchor_width": wide}
    yield {"base_anchor_height": tall, "base_anchor_width": wide}


def _of_pyramid(generator: Any, cells: _Cells, size: Shape) -> Iterator[Change]:
    pixels = cells.sizes[0] * np.array(size)
    yield {"anchor_scale": float(np.sqrt(pixels[0].prod())) / 2**generator.min_level}
    for octaves in range(1, _MOST_OCTAVES):
        yield {"scales_per_octave": octaves}
    step = max(1, generator.scales_per_octave)
    yield {"aspect_ratios": [float(width / height) for height, width in pixels[::step]]}
    for shift in _LEVEL_SHIFTS:
        levels = (generator.min_level + shift, generator.max_level + shift)
        if levels[0] >= 0:
            yield {"min_level": levels[0], "max_level": levels[1]}


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value


def _value(generator: Any, field: str) -> Any:
    value = getattr(generator, field)
    return value if isinstance(value, (bool, int, float)) else list(value)


def _changed(generators: Any, kind: str, change: Change) -> Any:
    """A copy of the message with other values; None where they are no values for it."""
    copy = type(generators)()
    copy.CopyFrom(generators)
    generator = getattr(copy, kind)
    try:
        for field, value in change.items():
            set_field(generator, field, value)
    except (ValueError, TypeError):
        return None
    return copy


def _makes(generators: Any, maps: Sequence[Shape], size: Shape, own: Array, tolerance: float) -> bool:
    for older in (False, True):
        try:
            made = anchors.anchors(generators, maps, size, order_of_2017=older)
        except (ValueError, ZeroDivisionError, IndexError):
            return False
        if made is not None and made.shape == own.shape and float(np.abs(made - own).max()) <= tolerance:
            return True
    return False


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_shown, value)) + "]" if value else "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.7g}" if isinstance(value, float) else str(value)
