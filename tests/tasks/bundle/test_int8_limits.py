"""The limits of int8: models that were quantised well keep them, and models that were quantised badly do not."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.tasks.converter.lowering.golden import Case
from tests.tensorrt.precision import SEED, UNSEEN_SEED, drawn

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.detect.verdict import judge
from jetlane.tasks.bundle.release import TOLERANCES
from jetlane.tasks.converter.lowering.quantized import to_int8
from jetlane.tasks.proof.near_ties import near_ties
from jetlane.tasks.proof.onnx_detector import heads_of

THRESHOLD = 0.3
#: Trained on the shapes set.
TRAINED = ["trained_A_t13_v2_160_c3", "trained_C_t15_v1_160_c3", "trained_F_t215_v2_160_c3"]


@pytest.fixture(scope="module", params=TRAINED)
def model(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(converted case, samples for ``judge``, calibration images float32 [25, 3, H, W])."""
    case = Case(shared_data / "graphs" / request.param, tmp_path_factory.mktemp(request.param))
    spec, samples = asdict(case.params.input), []
    for image in drawn(60, UNSEEN_SEED):
        pixels, content = to_input(image.pixels, spec)
        boxes, scores = case.heads(pixels)
        ties = near_ties(boxes, scores, case.params.nms, THRESHOLD, content)
        expected = found_in(boxes, scores, content, case)
        samples.append({"file": "", "image": image.pixels, "truth": image.truth.to_json(),
                        "near_ties": ties, "expected": expected})  # fmt: skip
    calibration = np.stack([to_input(image.pixels, spec)[0] for image in drawn(25, SEED)])
    return case, samples, calibration


def found_in(boxes: np.ndarray, scores: np.ndarray, content: Any, case: Any) -> Detections:
    return Detections.from_nms(*suppress(boxes, scores, asdict(case.params.nms)), content)


def verdict(model: Any, calibration: np.ndarray) -> dict[str, Any]:
    """What the verification says of an engine that was calibrated with these images."""
    case, samples, _ = model
    quantized = to_int8(onnx.load(str(case.out / "model.trt.onnx")), calibration)
    heads = heads_of(quantized.SerializeToString(), case.params, optimized=False)
    rows = [{**sample, "found": found_in(*heads(sample["image"]), case)} for sample in samples]
    return judge(rows, TOLERANCES["int8"].to_json(), THRESHOLD)


def test_well_calibrated_engines_are_taken(model: Any) -> None:
    report = verdict(model, model[2])
    assert report["agreed"] and report["matched"] > 100, report["checked"]


@pytest.mark.parametrize("wrong", ["noise", "black", "not normalised"])
def test_badly_calibrated_engines_are_refused(model: Any, wrong: str) -> None:
    right = model[2]
    images = {
        "noise": np.random.default_rng(0).uniform(-1, 1, right.shape).astype(np.float32),
        "black": np.full_like(right[:3], -1),
        "not normalised": (right + 1) * np.float32(127.5),
    }
    assert not verdict(model, images[wrong])["agreed"]


def test_swapped_classes_are_refused(model: Any) -> None:
    rows = []
    for sample in model[1]:
        right = sample["expected"]
        swapped = np.array([0, 2, 1, 3])[right.labels]
        rows.append({**sample, "found": Detections(right.boxes, swapped, right.scores)})
    assert not judge(rows, TOLERANCES["int8"].to_json(), THRESHOLD)["agreed"]
