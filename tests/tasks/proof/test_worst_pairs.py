"""The worst pairs are those without a partner, then the lowest overlap and the largest difference of scores."""

from __future__ import annotations

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.proof.worst_pairs import SHOWN, SIDE, worst_pairs

LIMITS = {"threshold": 0.3, "min_iou": 0.9, "max_score_difference": 0.1}


def test_worst_first_with_boxes_in_pixels_of_the_cut() -> None:
    images = [np.zeros((100, 200, 3), np.uint8), np.zeros((400, 400, 3), np.uint8)]
    expected = [
        Detections([[0.5, 0.4, 0.6, 0.6], [0.0, 0.0, 0.1, 0.2]], [1, 2], [0.9, 0.8]),
        Detections([[0.5, 0.5, 0.7, 0.7]], [1], [0.95]),
    ]
    got = [
        Detections([[0.5, 0.4, 0.602, 0.6], [0.0, 0.0, 0.1, 0.2]], [1, 2], [0.9, 0.75]),
        Detections([], [], []),
    ]
    alone, low, apart = worst_pairs(images, ["a.jpg", "b.jpg"], expected, got, **LIMITS)
    assert (alone.image, alone.got, alone.iou) == ("b.jpg", None, None) and alone.expected_score == pytest.approx(0.95)
    assert low.image == "a.jpg" and low.iou == pytest.approx(0.1 / 0.102, rel=1e-3)
    assert apart.expected_score - apart.got_score == pytest.approx(0.05, abs=1e-6)
    # the box of 20 by 20 pixels at (100, 40), with its partner and a good half of both around them: from 87 to 133
    assert max(low.width, low.height) == SIDE
    scale = low.width / 46
    assert low.expected == pytest.approx([13 * scale, 13 * scale, 33 * scale, 33 * scale], abs=0.1)
    assert low.uri.startswith("data:image/jpeg;base64,")


def test_no_more_than_are_shown_and_none_of_nothing() -> None:
    image = np.zeros((50, 50, 3), np.uint8)
    found = Detections([[0.1, 0.1, 0.3, 0.3]], [1], [0.9])
    assert len(worst_pairs([image] * 9, ["x"] * 9, [found] * 9, [found] * 9, **LIMITS)) == SHOWN
    assert worst_pairs([image], ["x"], [Detections([], [], [])], [Detections([], [], [])], **LIMITS) == []
