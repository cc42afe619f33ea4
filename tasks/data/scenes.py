"""Images that are there twice, to the byte or to the eye."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jetlane.tasks.data.pixels import ImageFacts

#: Bits in which the hashes of one scene may differ; with five bands of bits one is the same then.
_DISTANCE = 4
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))
#: Mean difference of the grey levels of two thumbnails of one scene, 0..255: JPEG at another quality makes less than 1.
_DIFFERENCE = 3.0
#: Images that are looked at for each that shares a band: a set of nearly black images must not take for ever.
_MOST_COMPARED = 500


@dataclass(frozen=True)
class SameScene:
    """Two images, by their places, and how far apart they are: bits of the hash, grey levels of the thumbnail."""

    first: int
    second: int
    bits: int
    levels: float


def same_scenes(first: Sequence[ImageFacts], second: Sequence[ImageFacts]) -> Iterator[SameScene]:
    """For each image of ``first`` the nearest of ``second`` that shows the same, but for those equal to the byte."""
    bands: list[dict[int, list[int]]] = [{} for _ in _BANDS]
    for place, facts in enumerate(second):
        for table, (shift, bits) in zip(bands, _BANDS):
            table.setdefault((facts.hash >> shift) & ((1 << bits) - 1), []).append(place)
    for place, facts in enumerate(first):
        near: dict[int, None] = {}
        for table, (shift, bits) in zip(bands, _BANDS):
            near.update(dict.fromkeys(table.get((facts.hash >> shift) & ((1 << bits) - 1), ())[:_MOST_COMPARED]))
        found = [_compared(place, facts, other, second[other]) for other in near]
        same = [each for each in found if each.bits <= _DISTANCE and each.levels <= _DIFFERENCE]
        same = [each for each in same if second[each.second].sha256 != facts.sha256]
        if same:
            yield min(same, key=lambda each: (each.levels, each.bits, each.second))


def _compared(place: int, facts: ImageFacts, other_place: int, other: ImageFacts) -> SameScene:
    bits = bin(facts.hash ^ other.hash).count("1")
    if bits > _DISTANCE:
        return SameScene(place, other_place, bits, 255.0)
    one, two = (np.frombuffer(each.thumbnail, np.uint8).astype(np.float32) for each in (facts, other))
    return SameScene(place, other_place, bits, float(np.abs(one - two).mean()))
