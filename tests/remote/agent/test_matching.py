"""Matching: one to one, both directions, as many pairs as possible, whatever the order of the input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.remote.agent.detect.detections import Detections, iou_matrix
from jetlane.remote.agent.detect.matching import match

ONE = [[0.1, 0.1, 0.5, 0.5]]


def found(boxes: list, labels: list, scores: list) -> Detections:
    return Detections(boxes, labels, scores)


@pytest.mark.parametrize(
    ("expected", "got", "pairs", "missing", "surplus", "borderline"),
    [
        (found([], [], []), found([], [], []), 0, [], [], 0),
        (found(ONE, [1], [0.9]), found(ONE, [1], [0.905]), 1, [], [], 0),
        (found(ONE, [1], [0.9]), found(ONE, [1], [0.906]), 0, [0], [0], 0),
        (found(ONE, [1], [0.9]), found(ONE, [2], [0.9]), 0, [0], [0], 0),
        (found(ONE, [1], [0.9]), found([[0.1, 0.1, 0.5, 0.51]], [1], [0.9]), 0, [0], [0], 0),
        (found(ONE, [1], [0.9]), found([], [], []), 0, [0], [], 0),
        (found(ONE, [1], [0.9]), found(ONE * 2, [1, 1], [0.9, 0.9]), 1, [], [1], 0),
        (found(ONE, [1], [0.303]), found([], [], []), 0, [], [], 1),
        (found([], [], []), found(ONE, [1], [0.31]), 0, [], [0], 0),
    ],
)
def test_what_agrees_and_what_is_left_over(
    expected: Detections, got: Detections, pairs: int, missing: list, surplus: list, borderline: int
) -> None:
    report = match(expected, got, 0.99, 0.005, threshold=0.3)
    assert (len(report.pairs), report.missing, report.surplus) == (pairs, missing, surplus)
    assert report.borderline == borderline
    assert report.agreed == (not missing and not surplus)


def test_a_pair_gives_way_when_both_can_then_be_matched() -> None:
    # the first expected box fits both, and the second fits the first's favourite alone
    expected = found([[0, 0, 1, 1], [0, 0, 1, 0.92]], [1, 1], [0.9, 0.9])
    got = found([[0, 0, 1, 0.96], [0, 0.04, 1, 1]], [1, 1], [0.9, 0.9])
    assert len(match(expected, got, 0.95, 0.1).pairs) == 2


boxes = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 2), st.sampled_from([0.5, 0.52])), max_size=5
)


def as_detections(rows: list) -> Detections:
    corners = [[x / 10, y / 10, x / 10 + 0.4, y / 10 + 0.4] for x, y, _, _ in rows]
    return found(corners, [row[2] for row in rows], [row[3] for row in rows])


@settings(max_examples=150, deadline=None)
@given(boxes, boxes)
def test_no_other_pairing_has_more_pairs(first: list, second: list) -> None:
    expected, got = as_detections(first), as_detections(second)
    iou = iou_matrix(expected.boxes, got.boxes)
    fits = (iou >= 0.6) & (expected.labels[:, None] == got.labels[None])
    fits &= np.abs(expected.scores[:, None] - got.scores[None]) <= 0.01
    best = 0
    short, table = (len(expected), fits) if len(expected) <= len(got) else (len(got), fits.T)
    for chosen in itertools.permutations(range(table.shape[1]), short):
        best = max(best, sum(bool(table[i, j]) for i, j in enumerate(chosen)))
    report, back = match(expected, got, 0.6, 0.01), match(got, expected, 0.6, 0.01)
    assert len(report.pairs) == len(back.pairs) == best
    assert len(report.pairs) + len(report.missing) == len(expected)
    assert len(report.pairs) + len(report.surplus) == len(got)
    assert len({i for i, *_ in report.pairs}) == len({j for _, j, *_ in report.pairs}) == best
