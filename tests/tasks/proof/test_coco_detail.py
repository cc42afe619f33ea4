"""The confusion matrix counts each object once, and the curves are those of pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.proof.coco_map import GroundTruth, mean_average_precision

NAMES = {1: "cat", 2: "dog"}
LEFT, RIGHT, AWAY = [0.1, 0.1, 0.3, 0.3], [0.6, 0.1, 0.8, 0.3], [0.4, 0.6, 0.5, 0.7]


def truth(boxes: list[list[float]], labels: list[int], crowd: list[bool] | None = None) -> GroundTruth:
    marks = None if crowd is None else np.array(crowd)
    return GroundTruth(np.array(boxes, np.float32), np.array(labels, np.int32), (100, 200), marks)


def test_what_is_taken_for_what() -> None:
    real = [truth([LEFT, RIGHT], [1, 2]), truth([LEFT, AWAY], [2, 1], [False, True])]
    found = [
        # the cat twice: the second one is a false alarm; the dog is taken for a cat
        Detections([LEFT, LEFT, RIGHT], [1, 1, 1], [0.9, 0.8, 0.7]),
        # the dog is missed: what lies there is not sure enough; what lies in a crowd is not counted
        Detections([LEFT, AWAY], [2, 1], [0.2, 0.9]),
    ]
    measured = mean_average_precision(real, found, NAMES, confusion_score=0.3)
    table = measured["confusion"]
    assert table["classes"] == ["cat", "dog"] and (table["score"], table["iou"]) == (0.3, 0.5)
    assert table["counts"] == [[1, 0, 0], [1, 0, 1], [1, 0, 0]]


def test_curves_average_to_the_ap_and_name_the_best_score() -> None:
    real = [truth([LEFT, RIGHT], [1, 1])]
    found = [Detections([LEFT, AWAY, RIGHT], [1, 1, 1], [0.9, 0.8, 0.7])]
    measured = mean_average_precision(real, found, NAMES, confusion_score=0.3)
    assert set(measured["curves"]) == {"cat"}, "there is no dog"
    curve = measured["curves"]["cat"]
    assert np.mean(curve["precision"]) == pytest.approx(measured["per_class"]["cat"]["AP@0.5"], abs=1e-4)
    assert curve["best"] == {"f1": 0.8, "score": 0.7, "precision": pytest.approx(0.6667), "recall": 1.0}


def test_nothing_found_and_nothing_asked() -> None:
    measured = mean_average_precision([truth([LEFT], [2])], [Detections([], [], [])], NAMES, confusion_score=0.3)
    assert measured["confusion"]["counts"] == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert measured["curves"]["dog"]["best"] is None
    assert "curves" not in mean_average_precision([truth([LEFT], [2])], [Detections([], [], [])], NAMES)
