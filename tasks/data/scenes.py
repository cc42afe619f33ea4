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
#: Images that are compared with their likes in one go.
_BLOCK = 64
#: Pairs whose thumbnails are compared in one go.
_PAIRS = 4096


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
    found: dict[int, SameScene] = {}
    for each in looks.like([facts.hash for facts in first], [facts.thumbnail for facts in first]):
        if first[each.first].sha256 != second[each.second].sha256:
            found[each.first] = min(found.get(each.first, each), each, key=_distance)
    yield from (each for _, each in sorted(found.items()))


def scenes(hashes: Sequence[int], thumbnails: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    """Pairs of images, by their places, that show the same, in no order; of a camera that never moves there are many.

    Args:
        hashes: Perceptual, 64 bits.
        thumbnails: Grey, as ``ImageFacts`` has them; an empty one leaves it to the hash.
    """
    looks = _Looks(hashes, thumbnails)
    found = looks.like(hashes, thumbnails)
    yield from ((each.first, each.second) for each in found if each.first < each.second)


def _distance(found: SameScene) -> tuple[float, int, int]:
    return found.levels, found.bits, found.second


class _Looks:
    """Images by their mean grey level, so that one is compared with those alone that are as bright."""

    def __init__(self, hashes: Sequence[int], thumbnails: Sequence[bytes]) -> None:
        self._sure = all(thumbnails) and bool(thumbnails)
        self._order = np.arange(len(hashes))
        if self._sure:
            flat = _flat(thumbnails)
            means = flat.mean(1, dtype=np.float64)
            self._order = np.argsort(means, kind="stable")
            self._means, self._thumbnails = means[self._order], flat[self._order]
            self._bands = _bands(self._thumbnails)
        self._hashes = np.array(hashes, np.uint64)[self._order]

    def like(self, hashes: Sequence[int], thumbnails: Sequence[bytes]) -> Iterator[SameScene]:
        """Pairs of these images and those that show the same, which may be an image itself."""
        if not len(self._order) or not len(hashes):
            return
        given = np.array(hashes, np.uint64)
        if not (self._sure and all(thumbnails)):
            for place, own in enumerate(given):
                bits = _set_bits(self._hashes ^ own)
                for index in np.flatnonzero(bits <= _BITS_ALONE):
                    yield SameScene(place, int(self._order[index]), int(bits[index]), 0.0)
            return
        flat = _flat(thumbnails)
        for places, near in self._as_bright(flat):
            bits = _set_bits(self._hashes[near] ^ given[places])
            places, near, bits = (each[bits <= _BITS] for each in (places, near, bits))
            for start in range(0, len(places), _PAIRS):
                one, two = places[start : start + _PAIRS], near[start : start + _PAIRS]
                levels = np.abs(self._thumbnails[two] - flat[one].astype(np.int16)).mean(1)
                for index in np.flatnonzero(levels <= _LEVELS):
                    second, apart = int(self._order[two[index]]), int(bits[start + index])
                    yield SameScene(int(one[index]), second, apart, float(levels[index]))

    def _as_bright(self, flat: Array) -> Iterator[tuple[Array, Array]]:
        """Pairs of thumbnails [N, pixels] and those here that are as bright, in all and in each of four bands."""
        means, bands = flat.mean(1, dtype=np.float64), _bands(flat)
        places = np.flatnonzero(flat.max(1).astype(np.int16) - flat.min(1) >= _CONTRAST)
        places = places[np.argsort(means[places], kind="stable")]  # candidates of neighbours are much the same
        begins = np.searchsorted(self._means, means[places] - _BRIGHTNESS)
        ends = np.searchsorted(self._means, means[places] + _BRIGHTNESS, "right")
        middles = np.searchsorted(self._means, means[places])
        wide = ends - begins > _MOST_COMPARED
        begins = np.where(wide, np.maximum(begins, middles - _MOST_COMPARED // 2), begins)
        ends = np.where(wide, np.minimum(ends, begins + _MOST_COMPARED), ends)
        for start in range(0, len(places), _BLOCK):
            block, begin, end = (each[start : start + _BLOCK, None] for each in (places, begins, ends))
            low, high = int(begin.min()), int(end.max())
            here = np.arange(low, high)
            alike = (here >= begin) & (here < end)
            for band in range(bands.shape[1]):
                alike &= np.abs(bands[block, band] - self._bands[low:high, band]) <= _LEVELS
            rows, columns = np.nonzero(alike)
            yield block[rows, 0], low + columns


def _flat(thumbnails: Sequence[bytes]) -> Array:
    """uint8 [N, pixels]."""
    return np.frombuffer(b"".join(thumbnails), np.uint8).reshape(len(thumbnails), -1)


def _bands(thumbnails: Array) -> Array:
    """Mean grey levels of the four quarters, top to bottom: [N, pixels] -> float32 [N, 4]."""
    means: Array = thumbnails.reshape(len(thumbnails), 4, -1).mean(2, dtype=np.float32)
    return means


def _set_bits(values: Array) -> Array:
    """How many bits of each are set; uint64 [N] -> int [N]."""
    found: Array = np.unpackbits(values.view(np.uint8).reshape(len(values), values.itemsize), axis=1).sum(1)
    return found
