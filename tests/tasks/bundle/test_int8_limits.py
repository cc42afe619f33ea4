"""The limits of int8: engines that were calibrated well keep them, and engines that were calibrated badly do not.

onnxruntime computes in int8 here as TensorRT does: symmetric, weights by channel, in convolutions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.converter.lowering.golden import Case
from tests.tensorrt.precision import SEED, UNSEEN_SEED, drawn

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.detect.verdict import judge
from jetlane.tasks.bundle.release import TOLERANCES
from jetlane.tasks.proof.near_ties import near_ties

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
        expected = found_in(boxes, scores, case, content)
        samples.append({"file": "", "pixels": pixels, "content": content, "truth": image.truth.to_json(),
                        "near_ties": ties, "expected": expected})  # fmt: skip
    calibration = np.stack([to_input(image.pixels, spec)[0] for image in drawn(25, SEED)])
    return case, samples, calibration


def found_in(boxes: np.ndarray, scores: np.ndarray, case: Any, content: Any) -> Detections:
    return Detections.from_nms(*suppress(boxes, scores, asdict(case.params.nms)), content)


def verdict(model: Any, calibration: np.ndarray, out: Path) -> dict[str, Any]:
    """What the verification says of an engine that was calibrated with these images."""
    case, samples, _ = model
    quantize(case.out / "model.trt.onnx", calibration, out / "int8.onnx")
    run = runner(out / "int8.onnx")
    rows = []
    for sample in samples:
        boxes, scores = run(sample["pixels"])
        rows.append({**sample, "found": found_in(boxes, scores, case, sample["content"])})
    return judge(rows, TOLERANCES["int8"].to_json(), THRESHOLD)


def quantize(model: Path, images: Sequence[np.ndarray], out: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> Any:
            image = next(self._left, None)
            return None if image is None else {"Input": image[None]}

    quantize_static(
        str(model), str(out), Images(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True},
    )  # fmt: skip


def runner(model: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As it stands: float32 between the quantisers. Fused int8 kernels saturate on processors without VNNI.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def run(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        boxes, scores = session.run(["boxes", "scores"], {"Input": pixels[None]})
        return boxes[0], scores[0]

    return run


def test_well_calibrated_engines_are_taken(model: Any, tmp_path: Path) -> None:
    report = verdict(model, model[2], tmp_path)
    assert report["agreed"] and report["matched"] > 100, report["checked"]


@pytest.mark.parametrize("wrong", ["noise", "black", "not normalised"])
def test_badly_calibrated_engines_are_refused(model: Any, wrong: str, tmp_path: Path) -> None:
    right = model[2]
    images = {
        "noise": np.random.default_rng(0).uniform(-1, 1, right.shape).astype(np.float32),
        "black": np.full_like(right[:3], -1),
        "not normalised": (right + 1) * np.float32(127.5),
    }
    assert not verdict(model, images[wrong], tmp_path)["agreed"]


def test_swapped_classes_are_refused(model: Any) -> None:
    rows = []
    for sample in model[1]:
        right = sample["expected"]
        swapped = np.array([0, 2, 1, 3])[right.labels]
        rows.append({**sample, "found": Detections(right.boxes, swapped, right.scores)})
    assert not judge(rows, TOLERANCES["int8"].to_json(), THRESHOLD)["agreed"]
