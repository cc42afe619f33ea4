"""Do two sets of detections say the same? Matched one to one, in both directions, nothing left over."""

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from .arrays import Array
from .detections import Detections, iou_matrix
from .near_ties import NearTies


class MatchReport(object):
    """How two sets of detections agree.

    Attributes:
        pairs: (index in expected, index in got, IoU, score of got - score of expected) of each matched pair.
        missing: Indices of expected detections without a partner.
        surplus: Indices of got detections without a partner.
        borderline: How many more on either side have no partner, but a score so near the threshold that the partner may
            lie just below it, unseen; or are near ties of the suppression.
    """

    def __init__(
        self, pairs: List[Tuple[int, int, float, float]], missing: List[int], surplus: List[int], borderline: int
    ) -> None:
        self.pairs = pairs
        self.missing = missing
        self.surplus = surplus
        self.borderline = borderline

    @property
    def agreed(self) -> bool:
        return not self.missing and not self.surplus

    @property
    def lowest_iou(self) -> Optional[float]:
        return min((pair[2] for pair in self.pairs), default=None)

    @property
    def largest_score_difference(self) -> Optional[float]:
        return max((abs(pair[3]) for pair in self.pairs), default=None)

    def to_json(self) -> Dict[str, Any]:
        return {
            "agreed": self.agreed,
            "matched": len(self.pairs),
            "missing": self.missing,
            "surplus": self.surplus,
            "borderline": self.borderline,
            "lowest_iou": self.lowest_iou,
            "largest_score_difference": self.largest_score_difference,
            "pairs": [list(pair) for pair in self.pairs],
        }


def match(
    expected: Detections,
    got: Detections,
    min_iou: float,
    max_score_difference: float,
    threshold: Optional[float] = None,
    near_ties: Optional[NearTies] = None,
) -> MatchReport:
    """Pair detections of the same class whose boxes and scores agree; each is used once.

    The pairing has as many pairs as any could have (augmenting paths, best IoU tried first) and depends on nothing but
    the two sets, so a difference is never an accident of the order in which detections came.

    Args:
        min_iou: Lowest IoU of a pair.
        max_score_difference: Largest absolute difference of a pair's scores.
        threshold: The score at which both sets were cut. A detection within ``max_score_difference`` above it may have
            its partner below it; without one it is counted as borderline, not as missing or surplus.
        near_ties: Detections that are found or not as roundings have it. One without a partner that is among them, by
            the limits of a pair, is counted as borderline too; an expected one, if another box is in its place.
    """
    iou, difference, fits = _compared(expected, got, min_iou, max_score_difference)
    candidates = [_ranked(*row) for row in zip(fits, iou, np.abs(difference))]
    partner_of_got: Dict[int, int] = {}
    for i in _best_first(candidates, iou):
        _augment(i, candidates, partner_of_got)
    pairs = sorted((i, j, float(iou[i, j]), float(difference[i, j])) for j, i in partner_of_got.items())
    limit = -np.inf if threshold is None else threshold + max_score_difference
    matched = {pair[0] for pair in pairs}
    lone = [i for i in range(len(expected)) if i not in matched]
    lone_got = [j for j in range(len(got)) if j not in partner_of_got]
    if near_ties is not None:
        limits = near_ties.detections, min_iou, max_score_difference
        expected_ties, got_ties = (_compared(side, *limits)[2].any(axis=1) for side in (expected, got))
        expected_ties &= near_ties.excused(expected, got)
    else:
        expected_ties, got_ties = np.zeros(len(expected), bool), np.zeros(len(got), bool)
    missing = [i for i in lone if expected.scores[i] >= limit and not expected_ties[i]]
    surplus = [j for j in lone_got if got.scores[j] >= limit and not got_ties[j]]
    return MatchReport(pairs, missing, surplus, len(lone) + len(lone_got) - len(missing) - len(surplus))


def _compared(
    first: Detections, second: Detections, min_iou: float, max_score_difference: float
) -> Tuple[Array, Array, Array]:
    """[first, second] each: IoU; score of second - score of first; whether the two may be a pair."""
    iou = iou_matrix(first.boxes, second.boxes)
    difference = second.scores[None, :].astype(np.float64) - first.scores[:, None].astype(np.float64)
    fits = (
        (first.labels[:, None] == second.labels[None, :])
        & (iou >= min_iou)
        # one float32 step of slack: 0.305 and 0.300 differ by 0.005 for a person, by 0.00500003 in float32
        & (np.abs(difference) <= max_score_difference + 1e-7)
    )
    return iou, difference, fits


def _ranked(fits: Array, iou: Array, apart: Array) -> List[int]:
    """The partners that one detection may have, best first; sorted by numpy, as a board may show thousands."""
    partners = np.flatnonzero(fits)
    ranked: List[int] = partners[np.lexsort((partners, apart[partners], -iou[partners]))].tolist()
    return ranked


def _best_first(candidates: List[List[int]], iou: Array) -> List[int]:
    """Expected detections, those with the surest partner first, so that augmenting rarely has to move a pair."""
    return sorted((i for i, row in enumerate(candidates) if row), key=lambda i: (-iou[i, candidates[i][0]], i))


def _augment(start: int, candidates: List[List[int]], partner_of_got: Dict[int, int]) -> None:
    """Find a partner for ``start``, moving earlier pairs where that makes room (breadth first: no recursion limit)."""
    came_from: Dict[int, int] = {}
    queue = [start]
    for i in queue:
        for j in candidates[i]:
            if j in came_from:
                continue
            came_from[j] = i
            if j in partner_of_got:
                queue.append(partner_of_got[j])
                continue
            _shift(start, j, came_from, partner_of_got)
            return


def _shift(start: int, free: int, came_from: Dict[int, int], partner_of_got: Dict[int, int]) -> None:
    """Walk the augmenting path back from a free partner, giving each detection on it its new one."""
    held = {i: j for j, i in partner_of_got.items()}
    j = free
    while True:
        i = came_from[j]
        partner_of_got[j] = i
        if i == start:
            return
        j = held[i]
