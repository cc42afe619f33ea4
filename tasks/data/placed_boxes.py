"""Boxes with the size of their images, for looking at anchors: all of a small set, a fair sample of a large one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

#: Boxes that are kept.
MOST = 20_000
_WORD = 2**64 - 1


class PlacedBoxes:
    """A sample in which every box has the same chance; the same boxes in the same order give the same one."""

    def __init__(self) -> None:
        self._kept: list[tuple[float, ...]] = []
        self._seen = 0

    def add(self, height: int, width: int, boxes: Iterable[Sequence[float]]) -> None:
        """Add the boxes of an image, xmin, ymin, xmax, ymax in 0..1; its size is in pixels."""
        for box in boxes:
            placed = (*box, float(width), float(height))
            if len(self._kept) < MOST:
                self._kept.append(placed)
            elif (at := _scattered(self._seen) % (self._seen + 1)) < MOST:
                self._kept[at] = placed
            self._seen += 1

    def array(self) -> np.ndarray[Any, Any]:
        """float32 [N, 6]: xmin, ymin, xmax, ymax, and width and height of the image."""
        return np.array(self._kept, np.float32).reshape(-1, 6)


def _scattered(number: int) -> int:
    """A number that looks random, and is the same for the same number."""
    number = (number * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & _WORD  # splitmix64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _WORD
    return number ^ (number >> 31)
