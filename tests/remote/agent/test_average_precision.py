"""The board's own mAP is that of pycocotools, in random scenes with crowds, ties and doubles."""

from __future__ import annotations

import numpy as np
import pytest

from jetlane.remote.agent.detect.average_precision import mean_average_precision
from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.proof.coco_map import GroundTruth
from jetlane.tasks.proof.coco_map import mean_average_precision as of_pycocotools

SIZE = (256, 512)  # powers of two: pycocotools counts in pixels, and must round nothing


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0.0, 0.6, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(0.05, 0.4, (count, 2))], axis=1).astype(np.float32)


def scene(rng: np.random.Generator, crowds: bool) -> tuple[GroundTruth, Detections]:
    count = int(rng.integers(0, 6))
    known, labels = boxes(rng, count), rng.integers(1, 4, count).astype(np.int32)
    crowd = rng.random(count) < (0.3 if crowds else 0.0)
    near = known + rng.normal(0, 0.03, known.shape).astype(np.float32)
    near = np.concatenate([near[:, :2], np.maximum(near[:, 2:], near[:, :2] + 0.01)], axis=1)  # none inside out
    again = known[rng.random(count) < 0.5]
    found = np.concatenate([near, again, boxes(rng, int(rng.integers(0, 5)))])
    guessed = np.concatenate([labels, rng.integers(1, 4, len(found) - count)]).astype(np.int32)
    scores = rng.choice([0.3, 0.5, 0.7, 0.9], len(found)) if rng.random() < 0.3 else rng.uniform(0.3, 1, len(found))
    return GroundTruth(known, labels, SIZE, crowd), Detections(np.clip(found, 0, 1), guessed, scores)


@pytest.mark.parametrize("crowds", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_equal_to_pycocotools(seed: int, crowds: bool) -> None:
    rng = np.random.default_rng(seed)
    truth, found = zip(*(scene(rng, crowds) for _ in range(12)))
    theirs = of_pycocotools(truth, found, {1: "a", 2: "b", 3: "c"})["mAP@0.5"]
    ours = mean_average_precision([one.to_json() for one in truth], found)
    assert theirs is not None and ours == pytest.approx(theirs, abs=1e-9)


def test_nothing_to_find_and_nothing_found() -> None:
    none = Detections([], [], [])
    assert mean_average_precision([{"boxes": [], "labels": []}], [none]) is None
    crowd = {"boxes": [[0, 0, 1, 1]], "labels": [1], "crowd": [True]}
    assert mean_average_precision([crowd], [none]) is None
    one = {"boxes": [[0.1, 0.1, 0.5, 0.5]], "labels": [2]}
    assert mean_average_precision([one], [none]) == 0.0
    assert mean_average_precision([one], [Detections([[0.1, 0.1, 0.5, 0.5]], [2], [0.4])]) == pytest.approx(1.0)


def test_ground_truth_survives_json() -> None:
    truth = scene(np.random.default_rng(3), True)[0]
    again = GroundTruth.from_json(truth.to_json())
    for name in ("boxes", "labels", "crowd"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    assert again.size == truth.size
