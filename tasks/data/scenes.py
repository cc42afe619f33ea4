"""Images that are there twice, to the byte or to the eye.

Two images show the same where their thumbnails do. A perceptual hash alone does not tell: on an even background the
signs of small differences are noise, so that a frame at another JPEG quality had up to 14 of 64 bits otherwise, and
images of different things as few as 2. Grey levels of the thumbnails differ by less than 1 then, and by more than 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jetlane.tasks.data.pixels import ImageFacts

Array = np.ndarray[Any, Any]

#: Bits in which the hashes of one scene may differ; where there is no thumbnail to ask.
_BITS, _BITS_ALONE = 16, 4
#: Mean difference of the grey levels of two thumbnails of one scene, 0..255.
_LEVELS = 3.0
#: Difference of the mean grey levels; JPEG at another quality made less than 0.4 of it.
_BRIGHTNESS = 1.5
#: Grey levels between the darkest and the brightest part of an image; one with less shows nothing, and so no scene.
_CONTRAST = 12
#: Images that one is compared with at most: a camera that never moves must not take for ever.
_MOST_COMPARED = 4000


@dataclass(frozen=True)
class SameScene:
    """Two images, by their places, and how far apart they are: bits of the hash, grey levels of the thumbnail."""

    first: int
    second: int
    bits: int
    levels: float


def same_scenes(first: Sequence[ImageFacts], second: Sequence[ImageFacts]) -> Iterator[SameScene]:
    """For each image of ``first`` the nearest of ``second`` that shows the same, but for those equal to the byte."""
    looks = _Looks([facts.hash for facts in second], [facts.thumbnail for facts in second])
    for place, facts in enumerate(first):
        found = [each for each in looks.like(place, facts.hash, facts.thumbnail) if not _copies(facts, second, each)]
        if found:
            yield min(found, key=lambda each: (each.levels, each.bits, each.second))


def scenes(hashes: Sequence[int], thumbnails: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of images, by their places, that show the same.

    Args:
        hashes: Perceptual, 64 bits.
        thumbnails: Grey, as ``ImageFacts`` has them; an empty one leaves it to the hash.
    """
    looks = _Looks(hashes, thumbnails)
    for place, (own, thumbnail) in enumerate(zip(hashes, thumbnails)):
        for each in looks.like(place, own, thumbnail):
            if place < each.second:
                yield place, each.second


def _copies(facts: ImageFacts, second: Sequence[ImageFacts], found: SameScene) -> bool:
    return second[found.second].sha256 == facts.sha256


class _Looks:
    """Images by their mean grey level, so that one is compared with those alone that are as bright."""

    def __init__(self, hashes: Sequence[int], thumbnails: Sequence[bytes]) -> None:
        self._sure = all(thumbnails) and bool(thumbnails)
        self._order = np.arange(len(hashes))
        if self._sure:
            flat = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(hashes), -1)
            means = flat.mean(1, dtype=np.float64)
            self._order = np.argsort(means, kind="stable")
            self._means, self._thumbnails = means[self._order], flat[self._order]
            self._bands = _bands(self._thumbnails)
        self._hashes = np.array(hashes, np.uint64)[self._order]

    def like(self, place: int, own: int, thumbnail: bytes) -> Iterator[SameScene]:
        """Those that show the same as an image, which may be among them."""
        if not len(self._order) or (thumbnail and max(thumbnail) - min(thumbnail) < _CONTRAST):
            return
        levels = np.zeros(len(self._order))
        near = np.arange(len(self._order))
        if self._sure:
            grey = np.frombuffer(thumbnail, np.uint8).astype(np.int16)
            near = self._as_bright(grey)
            levels = np.abs(self._thumbnails[near] - grey).mean(1)
        bits = _set_bits(self._hashes[near] ^ np.uint64(own))
        same = (levels <= _LEVELS) & (bits <= (_BITS if self._sure else _BITS_ALONE))
        for index in np.flatnonzero(same):
            yield SameScene(place, int(self._order[near[index]]), int(bits[index]), float(levels[index]))

    def _as_bright(self, grey: Array) -> Array:
        """Where images are as bright, in all and in each of four bands."""
        mean = float(grey.mean())
        begin = int(np.searchsorted(self._means, mean - _BRIGHTNESS))
        end = int(np.searchsorted(self._means, mean + _BRIGHTNESS, "right"))
        if end - begin > _MOST_COMPARED:
            middle = int(np.searchsorted(self._means, mean))
            begin = max(begin, middle - _MOST_COMPARED // 2)
            end = min(end, begin + _MOST_COMPARED)
        alike = np.abs(self._bands[begin:end] - _bands(grey[None])).max(1) <= _LEVELS
        found: Array = begin + np.flatnonzero(alike)
        return found


def _bands(thumbnails: Array) -> Array:
    """Mean grey levels of the four quarters, top to bottom: [N, pixels] -> float32 [N, 4]."""
    means: Array = thumbnails.reshape(len(thumbnails), 4, -1).mean(2, dtype=np.float32)
    return means


def _set_bits(values: Array) -> Array:
    """How many bits of each are set; uint64 [N] -> int [N]."""
    found: Array = np.unpackbits(values.view(np.uint8).reshape(len(values), values.itemsize), axis=1).sum(1)
    return found
