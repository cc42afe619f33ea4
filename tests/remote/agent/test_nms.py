"""The agent's numpy NMS against the real NMS_TRT plugin's inputs and outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bench.suppression import plain

from jetlane.remote.agent.detect.detections import Detections, output_count
from jetlane.remote.agent.detect.nms import suppress

CASES = [
    "nms_c2_t100_b1", "nms_c2_t200_b4", "nms_c7_t100_b1", "nms_c7_t200_th03", "nms_c7_nosig_b4", "nms_c91_t100_b1",
    "nms_c91_b4_160", "nms_c7_450", "rule_bg_none", "rule_bg_last", "rule_empty_image", "rule_sigmoid_overflow",
    "rule_ties_nosig", "rule_threshold_strict", "rule_threshold_zero", "rule_not_normalized", "rule_corner",
    "rule_not_normalized_pixels",
]  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_equals_the_plugin_after_decoding(shared_data: Path, case: str) -> None:
    with np.load(shared_data / "plugins" / f"{case}.npz") as data:
        params = json.loads(str(data["params"]))
        arrays = {name: data[name] for name in ("decoded_boxes", "conf", "top", "keep")}
    nms = {
        "confidence_threshold": params["confidenceThreshold"],
        "nms_threshold": params["nmsThreshold"],
        "top_k": params["topK"],
        "keep_top_k": params["keepTopK"],
        "background_label_id": params["backgroundLabelId"],
        "is_normalized": bool(params["isNormalized"]),
    }
    counts = output_count(arrays["keep"].view(np.float32))
    for image, boxes in enumerate(arrays["decoded_boxes"]):
        scores = arrays["conf"][image].reshape(len(boxes), params["numClasses"])
        if params["confSigmoid"]:
            with np.errstate(over="ignore", invalid="ignore"):
                power = np.exp(scores)
                scores = power / (1 + power)
        rows, count = suppress(boxes[:, 0], scores, nms)
        wanted = arrays["top"][image, 0]
        assert count == counts[image]
        np.testing.assert_array_equal(rows[:, 1], wanted[:, 1])
        np.testing.assert_allclose(rows[:, 2], wanted[:, 2], rtol=0, atol=2e-7)
        np.testing.assert_allclose(rows[:, 3:], wanted[:, 3:], rtol=0, atol=4e-6 if "pixels" in case else 2e-7)
        # Of the plugin's rows, those that still have an area inside the image are detections.
        inside = (rows[:count, 5] > rows[:count, 3]) & (rows[:count, 6] > rows[:count, 4])
        assert len(Detections.from_nms(rows, count)) == inside.sum()


@pytest.mark.parametrize(
    ("threshold", "kept"), [(0.49999997, 1), (0.5, 2), (0.50000006, 2)], ids=["just below", "equal", "just above"]
)
def test_a_box_whose_iou_is_the_threshold_stays(threshold: float, kept: int) -> None:
    """The plugin compares with "greater than"; these two boxes have an IoU of exactly a half."""
    boxes = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.25]], np.float32)
    scores = np.array([[0, 0.9], [0, 0.8]], np.float32)
    nms = {
        "confidence_threshold": 0.3, "nms_threshold": threshold, "top_k": 8, "keep_top_k": 8,
        "background_label_id": 0, "is_normalized": True,
    }  # fmt: skip
    assert suppress(boxes, scores, nms)[1] == kept


def test_reads_rows_up_to_the_count_and_undoes_the_padding() -> None:
    rows = np.array([[0, 2, 0.9, 0.1, 0.1, 0.4, 0.25], [0, 1, 0.8, 0, 0, 1, 0.5], [0, 3, 9e9, 5, 5, 5, 5]], np.float32)
    found = Detections.from_nms(rows, 2, content=(1.0, 0.5))
    assert found.labels.tolist() == [2, 1]
    np.testing.assert_allclose(found.boxes, [[0.1, 0.2, 0.4, 0.5], [0, 0, 1, 1]], atol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [2, 3, 4, 5, 6])
def test_what_has_no_finite_score_or_place_was_not_found(column: int, value: float) -> None:
    rows = np.array([[0, 1, 0.9, 0.1, 0.1, 0.4, 0.2], [0, 2, 0.8, 0, 0, 1, 0.5]], np.float32)
    rows[0, column] = value
    with np.errstate(invalid="ignore"):
        found = Detections.from_nms(rows, 2)
    assert found.labels.tolist() == [2] and np.isfinite(found.scores).all()


@pytest.mark.parametrize("seed", range(60))
def test_many_boxes_at_a_time_keep_what_one_at_a_time_keeps(seed: int) -> None:
    """Also where scores and corners are equal, corners are swapped, and boxes have NaN in them."""
    random = np.random.default_rng(seed)
    priors, classes = int(random.integers(1, 400)), int(random.integers(1, 8))
    boxes = random.random((priors, 4)).astype(np.float32)
    scores = random.random((priors, classes)).astype(np.float32)
    if seed % 2:
        boxes, scores = np.round(boxes * 8) / 8, np.round(scores * 10) / 10
    if seed % 5 == 0:
        boxes[random.integers(0, priors, 3)] = [np.nan, 0, 1, 1]
        scores[random.integers(0, priors, 3)] = np.nan
    nms = {
        "confidence_threshold": float(random.choice([0, 1e-8, 0.3, 0.9])),
        "nms_threshold": float(random.choice([0, 0.3, 0.6, 0.99])),
        "top_k": int(random.choice([1, 10, 100, 400])),
        "keep_top_k": int(random.choice([1, 50, 100])),
        "background_label_id": int(random.choice([0, -1, 1])),
        "is_normalized": bool(seed % 3),
    }
    rows, count = suppress(boxes, scores, nms)
    labels, chosen = plain(boxes, scores, nms)
    assert count == len(chosen)
    np.testing.assert_array_equal(rows[:count, 1], labels)
    np.testing.assert_array_equal(rows[:count, 2], scores[chosen, labels])
    np.testing.assert_array_equal(rows[:count, 3:], np.clip(np.nan_to_num(boxes[chosen]), 0, 1))
