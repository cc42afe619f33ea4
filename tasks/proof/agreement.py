"""Whether two programs found the same, over many images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.matching import match
from jetlane.specs.defaults import EXACT

_PERCENTILES = (50, 90, 99, 100)


@dataclass(frozen=True)
class Agreement:
    """Detections above a score, matched one to one.

    Attributes:
        images: How many were compared.
        threshold: Only detections of at least this score count.
        min_iou, max_score_difference: What a pair has to hold.
        expected, got, matched: Counts of detections.
        missing, surplus: Expected ones without a partner, and found ones without.
        borderline: Without a partner on either side, but so near the threshold that it may lie just below; or near ties
            of the suppression.
        lowest_iou, largest_score_difference: Over all pairs; None without any.
        iou_loss, score_difference: Percentiles over all pairs of 1 - IoU and of the scores' absolute difference.
        disagreeing: Indices of the images with something missing or surplus.
    """

    images: int
    threshold: float
    min_iou: float
    max_score_difference: float
    expected: int
    got: int
    matched: int
    missing: int
    surplus: int
    borderline: int
    lowest_iou: Optional[float]
    largest_score_difference: Optional[float]
    iou_loss: dict[str, float]
    score_difference: dict[str, float]
    disagreeing: tuple[int, ...]

    @property
    def agreed(self) -> bool:
        return not self.missing and not self.surplus

    def to_json(self) -> dict[str, Any]:
        return {"agreed": self.agreed, **asdict(self), "disagreeing": list(self.disagreeing)}


def compare(
    expected: Sequence[Detections],
    got: Sequence[Detections],
    threshold: float,
    min_iou: float = EXACT.iou,
    max_score_difference: float = EXACT.score,
) -> Agreement:
    """Match image by image: same class, IoU and score as asked, each detection used once, in both directions.

    Raises:
        ValueError: Not as many images on both sides.
    """
    if len(expected) != len(got):
        raise ValueError(f"{len(expected)} images against {len(got)}")
    wanted, found = [one.above(threshold) for one in expected], [one.above(threshold) for one in got]
    reports = [match(left, right, min_iou, max_score_difference, threshold) for left, right in zip(wanted, found)]
    pairs = np.array([pair[2:] for report in reports for pair in report.pairs], np.float64).reshape(-1, 2)
    losses, differences = 1 - pairs[:, 0], np.abs(pairs[:, 1])
    return Agreement(
        images=len(reports),
        threshold=threshold,
        min_iou=min_iou,
        max_score_difference=max_score_difference,
        expected=sum(map(len, wanted)),
        got=sum(map(len, found)),
        matched=len(pairs),
        missing=sum(len(report.missing) for report in reports),
        surplus=sum(len(report.surplus) for report in reports),
        borderline=sum(report.borderline for report in reports),
        lowest_iou=float(pairs[:, 0].min()) if len(pairs) else None,
        largest_score_difference=float(differences.max()) if len(pairs) else None,
        iou_loss=_percentiles(losses),
        score_difference=_percentiles(differences),
        disagreeing=tuple(index for index, report in enumerate(reports) if not report.agreed),
    )


def _percentiles(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {f"p{rank}": float(np.percentile(values, rank)) for rank in _PERCENTILES} if len(values) else {}
