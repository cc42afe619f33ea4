"""Pascal VOC's average precision: of 2010 as the Object Detection API computes it, of 2007 by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.models.voc_ap import average_precisions
from jetlane.tasks.proof.coco_map import GroundTruth

NAMES = {1: "cat", 2: "dog", 3: "cow"}
LEFT, RIGHT, AWAY = [0.1, 0.1, 0.3, 0.3], [0.6, 0.1, 0.8, 0.3], [0.4, 0.6, 0.5, 0.7]


def truth(boxes: Any, labels: Any, difficult: Any = None, crowd: Any = None) -> GroundTruth:
    marks = [None if mark is None else np.array(mark, bool) for mark in (crowd, difficult)]
    return GroundTruth(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int32), (100, 100), *marks)


def of_the_api(real: list[GroundTruth], found: list[Detections]) -> dict[str, float | None]:
    """AP by class, by ``object_detection``'s own matching and its own area; no TensorFlow is needed for these."""
    metrics = pytest.importorskip("object_detection.utils.metrics")
    per_image = pytest.importorskip("object_detection.utils.per_image_evaluation")
    scores: dict[int, list[Any]] = {label: [] for label in NAMES}
    right: dict[int, list[Any]] = {label: [] for label in NAMES}
    count = dict.fromkeys(NAMES, 0)
    evaluator = per_image.PerImageEvaluation(  # as its ObjectDetectionEvaluation makes it
        num_groundtruth_classes=len(NAMES),
        matching_iou_threshold=0.5,
        nms_iou_threshold=1.0,
        nms_max_output_boxes=10_000,
    )
    for image, detections in zip(real, found):
        for label in NAMES:
            count[label] += int(((image.labels == label) & ~image.difficult & ~image.crowd).sum())
        score, hits, *_ = evaluator.compute_object_detection_metrics(
            detected_boxes=detections.boxes[:, [1, 0, 3, 2]],
            detected_scores=detections.scores,
            detected_class_labels=detections.labels - 1,
            groundtruth_boxes=image.boxes[:, [1, 0, 3, 2]],
            groundtruth_class_labels=image.labels - 1,
            groundtruth_is_difficult_list=image.difficult,
            groundtruth_is_group_of_list=image.crowd,
        )
        for label in NAMES:
            scores[label].append(score[label - 1])
            right[label].append(hits[label - 1])
    found_ap: dict[str, float | None] = {}
    for label, name in NAMES.items():
        if count[label]:
            every, hits = np.concatenate(scores[label]), np.concatenate(right[label])
            precision, recall = metrics.compute_precision_recall(every, hits.astype(float), count[label])
            found_ap[name] = float(metrics.compute_average_precision(precision, recall))
        else:
            found_ap[name] = None
    return found_ap


@pytest.mark.parametrize("seed", range(12))
def test_the_area_is_that_of_the_object_detection_api(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float", float, raising=False)  # the API's name, of NumPy's first years
    rng = np.random.default_rng(seed)
    real, found = [], []
    for _ in range(8):
        count, more = int(rng.integers(0, 6)), int(rng.integers(0, 5))
        corners = rng.uniform(0, 0.7, (count, 2))
        boxes = np.concatenate([corners, corners + rng.uniform(0.1, 0.3, (count, 2))], 1)
        labels = rng.integers(1, 3 if seed % 2 else 4, count)
        real.append(truth(boxes, labels, rng.random(count) < 0.25, rng.random(count) < 0.15))
        near = boxes[rng.integers(0, max(count, 1), more)] if count else np.zeros((0, 4))
        seen = np.concatenate([boxes, near]) + rng.normal(0, 0.03, (count + len(near), 4))
        guessed = np.concatenate([labels, rng.integers(1, 4, len(near))])
        ordered = np.concatenate([np.minimum(seen[:, :2], seen[:, 2:]), np.maximum(seen[:, :2], seen[:, 2:])], 1)
        found.append(Detections(ordered, guessed, rng.random(len(seen))))
    mean, classes = average_precisions(real, found, NAMES)
    expected = of_the_api(real, found)
    assert {name: one.area for name, one in classes.items()} == {
        name: None if value is None else pytest.approx(value, abs=1e-9) for name, value in expected.items()
    }
    known = [value for value in expected.values() if value is not None]
    assert mean.area == pytest.approx(np.mean(known), abs=1e-9)


def test_eleven_points_by_hand() -> None:
    """Right, wrong, right: precision 1 at recall 1/3, 2/3 at recall 2/3. Four recalls of eleven at 1, three at 2/3."""
    real = [truth([LEFT, RIGHT], [1, 1]), truth([AWAY], [1])]
    found = [Detections([LEFT, AWAY, RIGHT], [1, 1, 1], [0.9, 0.8, 0.7]), Detections([], [], [])]
    mean, classes = average_precisions(real, found, NAMES)
    assert classes["cat"].eleven == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)
    assert classes["cat"].area == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert classes["dog"].eleven is None and mean == classes["cat"]


def test_difficult_objects_and_crowds_neither_count_nor_harm() -> None:
    real = [truth([LEFT, RIGHT, AWAY], [1, 1, 1], difficult=[0, 1, 0], crowd=[0, 0, 1])]
    found = [Detections([LEFT, RIGHT, RIGHT, AWAY], [1, 1, 1, 1], [0.6, 0.9, 0.8, 0.7])]
    assert average_precisions(real, found, NAMES)[1]["cat"].area == 1.0
    nothing = average_precisions([truth([LEFT], [1], difficult=[1])], [Detections([], [], [])], NAMES)
    assert nothing[0].area is None and nothing[1]["cat"].eleven is None
