"""Which images are trained on and which are evaluated on, where the data set does not say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class SplitCandidate:
    """What is known of an image before it is put on a side.

    Attributes:
        name: Unique: source and relative path.
        source: The source as people know it.
        sha256: Of its bytes.
        hash: Perceptual, 64 bits.
        labels: Classes of its objects.
        split: Given by the data set; kept.
        time: EXIF's time as it is written; empty without.
    """

    name: str
    source: str
    sha256: str
    hash: int
    labels: tuple[str, ...]
    split: Optional[str] = None
    time: str = ""


@dataclass(frozen=True)
class SplitOptions:
    """How images are divided.

    Attributes:
        validation: Share of the images to evaluate on.
        seed: Another seed, another division.
    """

    validation: float = 0.2
    seed: int = 0


def assign(images: Sequence[SplitCandidate], options: SplitOptions) -> list[str]:
    """``train`` or ``validation`` for each image, in order. An image keeps its side whatever is added to the set."""
    return [image.split or _side(image, options) for image in images]


def _side(image: SplitCandidate, options: SplitOptions) -> str:
    digest = hashlib.sha256(f"{options.seed}|{image.sha256}".encode()).digest()
    return "validation" if int.from_bytes(digest[:8], "big") < options.validation * 2**64 else "train"
