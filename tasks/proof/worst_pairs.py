"""Where the converted model is furthest from the trained one, as pictures for people."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.matching import match

Array = np.ndarray[Any, Any]

#: Pairs that are shown; longest side of a picture, in pixels; how much of its surroundings a box is shown with.
SHOWN, SIDE, _MARGIN = 4, 240, 0.6
_QUALITY = 82
#: Of an IoU and a score, as people are shown them, with five and four digits.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class WorstPair:
    """A detection of one side and its partner on the other, in a picture of their surroundings.

    Attributes:
        image: The user's name of the image.
        uri: JPEG of the surroundings, as a data URI; ``width`` and ``height`` are its pixels.
        label: Number of the class.
        expected, got: Boxes as xmin, ymin, xmax, ymax in pixels of the picture; None where that side has none.
        expected_score, got_score: Their scores.
        iou: Of the two; None without a partner.
    """

    image: str
    uri: str
    width: int
    height: int
    label: int
    expected: Optional[list[float]]
    got: Optional[list[float]]
    expected_score: Optional[float]
    got_score: Optional[float]
    iou: Optional[float]

    @property
    def is_equal(self) -> bool:
        """Whether the two are one, but for rounding in float32."""
        if self.iou is None or self.expected_score is None or self.got_score is None:
            return False
        return self.iou > 1 - _ROUNDING and abs(self.expected_score - self.got_score) < _ROUNDING

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Candidate:
    image: int
    expected: Optional[int]
    got: Optional[int]
    iou: float
    difference: float


def worst_pairs(
    images: Sequence[Array],
    names: Sequence[str],
    expected: Sequence[Detections],
    got: Sequence[Detections],
    *,
    threshold: float,
    min_iou: float,
    max_score_difference: float,
) -> list[WorstPair]:
    """Detections without a partner first, then the pairs of the lowest IoU and of the largest score difference.

    Args:
        images: uint8 [H, W, 3] RGB.
        names: Of the images.
        expected, got: Of each image.
        threshold, min_iou, max_score_difference: As of ``agreement.compare``.
    """
    limits = min_iou, max_score_difference, threshold
    wanted, found = [one.above(threshold) for one in expected], [one.above(threshold) for one in got]
    candidates = [
        candidate for index, sides in enumerate(zip(wanted, found)) for candidate in _candidates(index, *sides, *limits)
    ]
    return [_drawn(one, images, names, wanted, found) for one in _chosen(candidates)]


def _candidates(
    index: int, expected: Detections, got: Detections, iou: float, score: float, threshold: float
) -> Iterator[_Candidate]:
    report = match(expected, got, iou, score, threshold)
    for place in report.missing:
        yield _Candidate(index, place, None, 0.0, 1.0)
    for place in report.surplus:
        yield _Candidate(index, None, place, 0.0, 1.0)
    for left, right, overlap, difference in report.pairs:
        yield _Candidate(index, left, right, overlap, abs(difference))


def _chosen(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Half by overlap, half by score; each once."""
    by_overlap = sorted(candidates, key=lambda one: one.iou)
    by_score = sorted(candidates, key=lambda one: -one.difference)
    chosen = list(dict.fromkeys([*by_overlap[: SHOWN // 2], *by_score]))[:SHOWN]
    return chosen


def _drawn(
    one: _Candidate,
    images: Sequence[Array],
    names: Sequence[str],
    expected: Sequence[Detections],
    got: Sequence[Detections],
) -> WorstPair:
    image = images[one.image]
    left = expected[one.image].boxes[one.expected] if one.expected is not None else None
    right = got[one.image].boxes[one.got] if one.got is not None else None
    around = _surroundings([box for box in (left, right) if box is not None], image.shape)
    uri, width, height = _picture(image[around[1] : around[3], around[0] : around[2]])
    scale = width / (around[2] - around[0])

    def placed(box: Optional[Array]) -> Optional[list[float]]:
        if box is None:
            return None
        pixels = box.astype(float) * [image.shape[1], image.shape[0], image.shape[1], image.shape[0]]
        return [round(float(edge), 2) for edge in (pixels - [around[0], around[1], around[0], around[1]]) * scale]

    def score(side: Sequence[Detections], place: Optional[int]) -> Optional[float]:
        return float(side[one.image].scores[place]) if place is not None else None

    side, place = (expected, one.expected) if one.expected is not None else (got, one.got)
    return WorstPair(
        image=names[one.image],
        uri=uri,
        width=width,
        height=height,
        label=int(side[one.image].labels[place]),
        expected=placed(left),
        got=placed(right),
        expected_score=score(expected, one.expected),
        got_score=score(got, one.got),
        iou=one.iou if left is not None and right is not None else None,
    )


def _surroundings(boxes: Sequence[Array], shape: Sequence[int]) -> tuple[int, int, int, int]:
    """xmin, ymin, xmax, ymax in pixels of the image: the boxes with a margin, at least a few pixels."""
    height, width = shape[:2]
    together = np.array(boxes, float) * [width, height, width, height]
    low, high = together[:, :2].min(axis=0), together[:, 2:].max(axis=0)
    margin = np.maximum((high - low) * _MARGIN, 8.0)
    first = np.clip(np.floor(low - margin), 0, [width - 1, height - 1]).astype(int)
    last = np.maximum(np.clip(np.ceil(high + margin), 0, [width, height]).astype(int), first + 1)
    return int(first[0]), int(first[1]), int(last[0]), int(last[1])


def _picture(pixels: Array) -> tuple[str, int, int]:
    """(data URI, width, height)."""
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    factor = SIDE / max(picture.size)
    size = (max(round(picture.width * factor), 1), max(round(picture.height * factor), 1))
    content = io.BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(content, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode(), *size
