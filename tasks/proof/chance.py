"""What a figure is worth: how far mAP varies without any reason."""

from __future__ import annotations

import math


def map_deviation(images: int) -> float:
    """Of mAP@0.5 of about 0.9 on so many images: sqrt(0.9 * 0.1 / n), the standard error of a share."""
    return math.sqrt(0.9 * 0.1 / max(images, 1))
