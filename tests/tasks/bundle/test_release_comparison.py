"""What two models find in one image."""

from __future__ import annotations

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.bundle.release_comparison import Difference, differ

LEFT, RIGHT, SHIFTED = [0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0], [0.0, 0.05, 0.4, 0.45]


def detections(*rows: tuple[list[float], int, float]) -> Detections:
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    labels = np.array([row[1] for row in rows], np.int32)
    return Detections(boxes, labels, np.array([row[2] for row in rows], np.float32))


# Each row: what the first and the second find, and what is said: found by both, by the first and by the second alone.
FOUND = [
    ([(LEFT, 1, 0.9)], [(LEFT, 1, 0.4)], (1, 0, 0, 0.5)),
    ([(LEFT, 1, 0.9), (RIGHT, 2, 0.31)], [(SHIFTED, 1, 0.9)], (1, 1, 0, 0.0)),
    ([(LEFT, 1, 0.9)], [(LEFT, 2, 0.9), (RIGHT, 1, 0.3)], (0, 1, 2, 0.0)),
    ([], [(LEFT, 1, 0.9)], (0, 0, 1, 0.0)),
]


@pytest.mark.parametrize(("first", "second", "told"), FOUND)
def test_an_object_that_one_of_them_finds_is_counted_however_sure_it_is(first, second, told) -> None:
    assert differ("a.jpg", detections(*first), detections(*second)) == Difference("a.jpg", *told)
