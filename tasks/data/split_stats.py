"""What a split of a data set holds, counted image by image."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jetlane.tasks.data.placed_boxes import PlacedBoxes


@dataclass
class SplitStats:
    """What a split holds.

    Attributes:
        objects: Boxes per class name.
        sizes: Images per ``WIDTHxHEIGHT``.
        box_sides: Square root of each box's share of its image.
        without_objects: Images without a box.
        repeated: Images that are in this split more than once.
        source_ids_made: Images that had no ``source_id`` and were given one.
        turned: Images that were turned as their EXIF orientation asks, because their boxes are on the turned image.
        placed: Boxes with the sizes of their images.
    """

    images: int = 0
    objects: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    box_sides: list[float] = field(default_factory=list)
    without_objects: int = 0
    repeated: int = 0
    source_ids_made: int = 0
    turned: int = 0
    placed: PlacedBoxes = field(default_factory=PlacedBoxes)

    def add(self, height: int, width: int, boxes: Sequence[Sequence[float]], names: Sequence[str]) -> None:
        """Count one image; ``boxes`` are xmin, ymin, xmax, ymax in 0..1, ``names`` one per box."""
        self.images += 1
        self.sizes[f"{width}x{height}"] += 1
        self.objects.update(names)
        self.without_objects += not len(boxes)
        self.box_sides += [math.sqrt(max(x1 - x0, 0.0) * max(y1 - y0, 0.0)) for x0, y0, x1, y1 in boxes]
        self.placed.add(height, width, boxes)

    def to_json(self) -> dict[str, Any]:
        points = np.quantile(self.box_sides, (0, 0.25, 0.5, 0.75, 1)).round(4).tolist() if self.box_sides else []
        return {
            "images": self.images,
            "objects": sum(self.objects.values()),
            "objects_per_class": dict(sorted(self.objects.items())),
            "image_sizes": dict(sorted(self.sizes.items())),
            "box_side": dict(zip(("min", "q25", "median", "q75", "max"), points)),
            "without_objects": self.without_objects,
            "repeated": self.repeated,
            "source_ids_made": self.source_ids_made,
            "turned": self.turned,
        }
