"""Preflight on a trained model: it agrees with TensorFlow, and every kind of difference stops the run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import PreflightError
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.options import larger_top_k
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.agreement import compare
from jetlane.tasks.proof.coco_map import GroundTruth, mean_average_precision
from jetlane.tasks.proof.model_comparison import Disagreement, preflight

NAMES = {1: "circle", 2: "square", 3: "triangle"}


@pytest.fixture(scope="module")
def trained(shared_data, tmp_path_factory):
    """(model, evaluation model, parameters, images, TensorFlow's detections) of a trained SSD."""
    from PIL import Image

    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    out = tmp_path_factory.mktemp("converted")
    convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", out)
    names = json.loads((folder / "meta.json").read_text())["images"]
    images = [np.asarray(Image.open(shared_data / "graphs" / "images" / name).convert("RGB")) for name in names]
    with np.load(folder / "reference.npz") as reference:
        found = [
            Detections(
                reference[f"detection_boxes_{index}"][0][:, [1, 0, 3, 2]],
                reference[f"detection_classes_{index}"][0],
                reference[f"detection_scores_{index}"][0],
            )
            for index in range(len(images))
        ]
    params = PluginParams.from_json(json.loads((out / "plugins.json").read_text()))
    return (out / "model.onnx").read_bytes(), (out / "model.eval.onnx").read_bytes(), params, images, found


def truth_of(found: list[Detections], images: list[np.ndarray]) -> list[GroundTruth]:
    """Pretends that TensorFlow's detections above 0.3 are what the images show."""
    return [
        GroundTruth(one.above(0.3).boxes, one.above(0.3).labels, image.shape[:2]) for one, image in zip(found, images)
    ]


def test_the_converted_model_agrees(trained):
    model, evaluation, params, images, found = trained
    report = preflight(model, evaluation, params, images, found, ground_truth=truth_of(found, images), names=NAMES)
    agreement = report.agreement
    assert agreement.matched == agreement.expected == agreement.got >= 4
    assert agreement.lowest_iou > 0.9999 and agreement.largest_score_difference < 1e-5
    assert report.map_onnx["mAP@0.5"] == pytest.approx(report.map_tensorflow["mAP@0.5"]) == pytest.approx(1)
    assert [len(one) for one in report.detections] == [len(one.above(0.3)) for one in found]
    assert json.loads(json.dumps(report.to_json()))["agreement"]["agreed"] is True
    assert 0 < report.largest_logit < 88


def _first(found: list[Detections]) -> int:
    return next(index for index, one in enumerate(found) if len(one.above(0.3)))


@pytest.mark.parametrize("change", ["box", "label", "score", "missing", "surplus"])
def test_each_kind_of_difference_stops_the_run(trained, change):
    model, evaluation, params, images, found = trained
    index = _first(found)
    one = found[index]
    boxes, labels, scores = one.boxes.copy(), one.labels.copy(), one.scores.copy()
    if change == "box":
        boxes[0, 2] -= 0.02 * (boxes[0, 2] - boxes[0, 0])
    elif change == "label":
        labels[0] = labels[0] % 3 + 1
    elif change == "score":
        scores[0] -= 0.006
    elif change == "missing":
        boxes, labels, scores = boxes[1:], labels[1:], scores[1:]
    else:
        boxes, labels, scores = (
            np.vstack([boxes, boxes[:1]]),
            np.append(labels, labels[0]),
            np.append(scores, scores[0]),
        )
    changed = [*found[:index], Detections(boxes, labels, scores), *found[index + 1 :]]
    with pytest.raises(Disagreement, match="does not find what the trained one finds") as error:
        preflight(model, evaluation, params, images, changed)
    assert error.value.report.agreement.disagreeing == (index,)
    assert f"images {index}" in error.value.why
    names = [f"IMG {number}.jpg" for number in range(len(images))]
    with pytest.raises(Disagreement, match=f"IMG {index}.jpg"):
        preflight(model, evaluation, params, images, changed, image_names=names)


def test_a_wrong_preprocessing_is_noticed(trained):
    """The very mistake that goes unnoticed on boards: colours in the wrong order."""
    model, evaluation, params, images, found = trained
    with pytest.raises(Disagreement):
        preflight(model, evaluation, params, [image[..., ::-1] for image in images], found)


@pytest.fixture(scope="module")
def crowded(shared_data, tmp_path_factory):
    """(lower with a topK, parameters, images, what is found with 100) of a model that finds many objects."""
    from tests.tasks.converter.lowering.golden import Case

    from jetlane.tasks.converter.lowering.lower import lower
    from jetlane.tasks.converter.uff import read_uff
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    case = Case(shared_data / "graphs" / "E_t15_lite_v2_300_c90", tmp_path_factory.mktemp("crowded"))
    uff = read_uff(case.out / "model.uff")

    def with_top_k(top_k: int, threshold: float = 1e-8) -> bytes:
        return lower(uff, case.params, "nms", threshold, top_k).SerializeToString()

    images = [reference.image for reference in case.references()]
    detector = OnnxDetector(with_top_k(100), case.params.input)
    return with_top_k, case.params, images, [detector.detect(image) for image in images]


class TestTopK:
    """A model with too few candidates per class, and many objects of a class in an image."""

    def test_is_raised_to_what_is_needed_when_a_detection_would_be_lost(self, crowded):
        with_top_k, params, images, found = crowded
        few = params.with_nms(top_k=2)
        report = preflight(with_top_k(2, 0.3), b"", few, images, found, with_top_k=with_top_k)
        assert not report.agreement.agreed and report.agreement.missing > 0
        top_k = report.top_k
        assert (top_k.used, top_k.tried) == (2, 8) and top_k.gained > 0 and 2 < top_k.needed <= 8
        assert f"{top_k.needed} keeps them" in report.notes[0]
        assert compare(found, [*map(detector_of(with_top_k(top_k.needed), params), images)], 0.3).missing < (
            report.agreement.missing
        )

    def test_is_left_alone_when_nothing_would_be_lost(self, crowded):
        with_top_k, params, images, found = crowded
        report = preflight(with_top_k(100, 0.3), b"", params, images, found, with_top_k=with_top_k)
        assert report.agreement.agreed and report.top_k.needed is None
        assert (report.top_k.used, report.top_k.tried, report.top_k.gained) == (100, 400, 0)
        assert report.to_json()["top_k"]["tried"] == 400 and not report.notes

    def test_is_not_raised_for_what_tensorflow_does_not_have(self, crowded):
        """What a larger topK finds besides is reported, no more."""
        with_top_k, params, images, _ = crowded
        own = [*map(detector_of(with_top_k(2, 0.3), params), images)]
        report = preflight(with_top_k(2, 0.3), b"", params.with_nms(top_k=2), images, own, with_top_k=with_top_k)
        assert report.agreement.agreed and report.top_k.needed is None and report.top_k.gained > 0
        assert "would come" in report.notes[0]

    def test_other_differences_stop_the_run_all_the_same(self, crowded):
        with_top_k, params, images, found = crowded
        with pytest.raises(Disagreement):
            preflight(with_top_k(100, 0.3), b"", params, images[::-1], found, with_top_k=with_top_k)

    def test_there_is_no_more_than_all_priors(self, crowded):
        _, params, _, _ = crowded
        assert larger_top_k(params.with_nms(top_k=params.num_priors)) is None
        assert larger_top_k(params.with_nms(top_k=1000)) == min(params.num_priors, 4000)


def detector_of(model: bytes, params: PluginParams):
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    return OnnxDetector(model, params.input).detect


def test_a_damaged_model(trained):
    _, evaluation, params, images, found = trained
    with pytest.raises(PreflightError, match="cannot load"):
        preflight(b"no model", evaluation, params, images, found)


def test_agreement_counts_what_lies_near_the_threshold():
    box = np.array([[0.1, 0.1, 0.5, 0.5]], np.float32)
    agreement = compare([Detections(box, [1], [0.302])], [Detections(box, [1], [0.299])], 0.3)
    assert agreement.agreed and agreement.borderline == 1 and agreement.expected == 1 and agreement.got == 0
    agreement = compare([Detections(box, [1], [0.31])], [Detections(box, [1], [0.299])], 0.3)
    assert not agreement.agreed and agreement.missing == 1


def test_mean_average_precision_of_cases_worked_out_by_hand():
    boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9]], np.float32)
    truth = [GroundTruth(boxes, np.array([1, 2]), (200, 240))]
    whole = mean_average_precision(truth, [Detections(boxes, [1, 2], [0.9, 0.8])], NAMES)
    assert whole["mAP@0.5"] == pytest.approx(1)
    assert whole["per_class"]["triangle"] == {"AP": None, "AP@0.5": None}
    # A better-scored false positive halves the precision at every recall; class 2 is not found at all.
    found = Detections(np.vstack([boxes[1], boxes[0]]), [1, 1], [0.9, 0.8])
    half = mean_average_precision(truth, [found], NAMES)
    assert half["per_class"]["circle"]["AP@0.5"] == pytest.approx(0.5)
    assert half["mAP@0.5"] == pytest.approx(0.25)
    # A box of IoU 0.6 counts at 0.5 and 0.55 alone, of the ten thresholds.
    loose = boxes[:1].copy()
    loose[0, 2] = 0.1 + 0.4 / 0.62
    single = [GroundTruth(boxes[:1], np.array([1]), (200, 240))]
    assert mean_average_precision(single, [Detections(loose, [1], [0.9])], NAMES)["mAP"] == pytest.approx(0.3)
    assert mean_average_precision(truth, [Detections(boxes[:0], [], [])], NAMES)["mAP@0.5"] == 0
