"""A network's anchors as they lie, and the best IoU that any of them has with a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.ssd import anchors
from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.derive import reference_anchors
from jetlane.tasks.converter.ssd.feature_maps import feature_map_shapes
from jetlane.tasks.converter.ssd.image_input import input_spec
from jetlane.tasks.data.boxes import Network

Array = np.ndarray[Any, Any]


def on_network(boxes: Array, sizes: Array, read: PipelineConfig) -> Array:
    """Boxes of images in fractions of the network's frame: float64 [N, 4]; those without area are left out."""
    network = Network.of(input_spec(read))
    boxes, sizes = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(sizes, np.float64).reshape(-1, 2)
    across, down = network.width / sizes[:, 0], network.height / sizes[:, 1]
    if network.keeps_aspect:
        across = down = np.minimum(across, down)
    filled = np.stack([sizes[:, 0] * across / network.width, sizes[:, 1] * down / network.height], 1)
    placed = boxes * np.tile(filled, 2)
    found: Array = placed[((placed[:, 2:] - placed[:, :2]) > 0).all(1)]
    return found


@dataclass(frozen=True)
class AnchorGrid:
    """Anchors as they lie.

    Attributes:
        size: (height, width) of the network's input.
        centres: Per level, y of the rows and x of the columns, fractions of the frame.
        cells: Per level, width and height of each box of a cell: float64 [boxes, 2].
    """

    size: tuple[int, int]
    centres: tuple[tuple[Array, Array], ...]
    cells: tuple[Array, ...]

    @classmethod
    def of(cls, read: PipelineConfig) -> AnchorGrid:
        """The anchors of a pipeline.config.

        Raises:
            DerivationError, SpecError: They are of no known kind, or the input has no fixed size.
        """
        image = input_spec(read)
        size = (image.height, image.width)
        maps = feature_map_shapes(read, size)
        own = reference_anchors(read, maps, size) if maps else None
        if maps is None or own is None:
            raise read.refuse("anchor_generator", "its anchors are not known without the frozen graph")
        levels = anchors.by_level(own.astype(np.float64), maps, _per_cell(read))
        centres = [((one[:, 0, 0, 1::2]).mean(1), (one[0, :, 0, ::2]).mean(1)) for one in levels]
        return cls(size, tuple(centres), tuple(one[0, 0, :, 2:] - one[0, 0, :, :2] for one in levels))

    def with_boxes_of(self, read: PipelineConfig) -> AnchorGrid:
        """The same cells with the boxes of a generator of the same kind that has as many levels."""
        one_cell = [(1, 1)] * len(self.centres)
        given = read.ssd.anchor_generator
        if given.HasField("multiscale_anchor_generator"):
            own = anchors.multiscale_anchors(given.multiscale_anchor_generator, one_cell, self.size)
        else:
            own = anchors.ssd_anchors(given.ssd_anchor_generator, one_cell, self.size)
        levels = anchors.by_level(own.astype(np.float64), one_cell, _per_cell(read))
        return replace(self, cells=tuple(one[0, 0, :, 2:] - one[0, 0, :, :2] for one in levels))

    @property
    def sides(self) -> tuple[float, ...]:
        """Pixels of the input: the root of each box's area, each once."""
        height, width = self.size
        found = np.sqrt(np.concatenate(self.cells).prod(1) * width * height)
        return tuple(sorted({round(float(side), 1) for side in found}))

    @property
    def ratios(self) -> tuple[float, ...]:
        """Width by height of the boxes, each once."""
        height, width = self.size
        cells = np.concatenate(self.cells)
        return tuple(sorted({round(float(ratio), 3) for ratio in cells[:, 0] * width / (cells[:, 1] * height)}))

    def distances(self, boxes: Array) -> list[Array]:
        """Per level, how far the centre of each box [N, 4] is from that of the nearest cell: [N, 2], x and y."""
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        return [
            np.stack([_distance(middle[:, 0], columns), _distance(middle[:, 1], rows)], 1)
            for rows, columns in self.centres
        ]

    def best_iou(self, boxes: Array, distances: Optional[Sequence[Array]] = None) -> Array:
        """For each box [N, 4] its best IoU over all anchors.

        Of all anchors of one shape, the one in the nearest cell overlaps most.

        Args:
            distances: What ``distances`` gave for these boxes, of any grid with the same cells.
        """
        best = np.zeros(len(boxes))
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        area = sides.prod(2)
        for away, cell in zip(distances if distances is not None else self.distances(boxes), self.cells):
            overlap = np.minimum((sides + cell) / 2 - away[:, None], np.minimum(sides, cell))
            shared = np.clip(overlap, 0, None).prod(2)
            best = np.maximum(best, (shared / (area + cell.prod(1) - shared)).max(1))
        return best


def _distance(values: Array, sorted_centres: Array) -> Array:
    after = np.clip(np.searchsorted(sorted_centres, values), 1, max(1, len(sorted_centres) - 1))
    before = sorted_centres[after - 1]
    nearest: Array = np.minimum(np.abs(values - before), np.abs(values - sorted_centres[after % len(sorted_centres)]))
    return nearest


def _per_cell(read: PipelineConfig) -> list[int]:
    kind = read.ssd.anchor_generator.WhichOneof("anchor_generator_oneof")
    generator = getattr(read.ssd.anchor_generator, kind)
    if kind == "ssd_anchor_generator":
        return [len(specs) for specs in anchors.ssd_specs(generator)]
    levels = generator.max_level - generator.min_level + 1
    return [len(generator.aspect_ratios) * generator.scales_per_octave] * levels
