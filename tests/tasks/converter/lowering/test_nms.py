"""NMS_TRT lowered to ONNX against what NVIDIA's own plugin code computed on a GPU."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from jetlane.remote.agent.detect.nms import suppress
from jetlane.tasks.converter.lowering import nms as lowering
from jetlane.tasks.converter.lowering.builder import Builder
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms

CASES = [
    "nms_c2_t100_b1",
    "nms_c2_t200_b4",
    "nms_c7_450",
    "nms_c7_nosig_b4",
    "nms_c7_t100_b1",
    "nms_c7_t200_th03",
    "nms_c91_b4_160",
    "nms_c91_t100_b1",
    "rule_batch_priors_agnostic",
    "rule_empty_image",
    "rule_input_order_012",
    "rule_threshold_strict",
    "rule_threshold_zero",
    "rule_ties_nosig",
]


def lowered(params: Nms, prior: np.ndarray, priors: int, ends: str = "nms") -> bytes:
    builder = Builder()
    loc = builder.op("Reshape", "loc", builder.ints(priors, 4))
    conf = builder.op("Reshape", "conf", builder.ints(priors, params.num_classes))
    scores = builder.op("Sigmoid", conf) if params.conf_sigmoid else conf
    rows = lowering.Priors(prior[0].reshape(-1, 4), prior[1].reshape(-1, 4))
    lowering.detections(builder, loc, scores, rows, params, ("NMS", "NMS_1"))
    model = builder.model(
        "nms",
        {"loc": (np.float32, (1, priors * 4, 1, 1)), "conf": (np.float32, (1, priors * params.num_classes, 1, 1))},
        {"NMS": (np.float32, (1, 1, params.keep_top_k, 7)), "NMS_1": (np.int32, (1, 1, 1, 1))},
    )
    return model.SerializeToString()


@pytest.mark.parametrize("case", CASES)
def test_nms_is_the_plugins(shared_data, case):
    import onnxruntime

    with np.load(shared_data / "plugins" / f"{case}.npz") as file:
        fields = json.loads(str(file["params"]))
        arrays = {key: file[key] for key in file.files if key != "params"}
    params = Nms(
        fields["numClasses"],
        fields["topK"],
        fields["keepTopK"],
        fields["nmsThreshold"],
        fields["confidenceThreshold"],
        conf_sigmoid=bool(fields["confSigmoid"]),
    )
    session = onnxruntime.InferenceSession(
        lowered(params, arrays["prior"][0], fields["numPriors"]), providers=["CPUExecutionProvider"]
    )
    for image in range(fields["batch"]):
        feeds = {name: arrays[name][image : image + 1] for name in ("loc", "conf")}
        top, count = session.run(["NMS", "NMS_1"], feeds)
        want = arrays["top"][image]
        assert count.item() == arrays["keep"][image].item()
        np.testing.assert_array_equal(top[0, ..., 1], want[..., 1])
        np.testing.assert_allclose(top[0, ..., 2:], want[..., 2:], rtol=0, atol=2e-7)


@pytest.mark.parametrize("places", [1, 2, 40, 300])
@pytest.mark.parametrize("steps", [3, 50, 10_000])
def test_many_classes_lose_nothing_to_the_raised_threshold(places, steps):
    """Many classes suppress in two passes: with many or few survivors, equal scores or none, nothing else is found."""
    import onnxruntime

    random = np.random.default_rng(places * steps)
    classes, priors = 31, 300
    params = Nms(classes + 1, 100, 60, 0.6, 0.1, conf_sigmoid=False)
    low = random.integers(0, 8, (places, 2)) / 16
    boxes = np.tile(np.hstack([low, low + 0.25]), (priors // places + 1, 1))[:priors]
    prior = np.stack([boxes, np.full((priors, 4), 0.1)]).astype(np.float32).reshape(1, 2, priors * 4, 1)
    loc = np.zeros((1, priors * 4, 1, 1), np.float32)
    # Most scores are low, as a detector's are.
    scores = np.floor(random.random((1, priors, classes + 1)) ** 3 * steps) / steps
    conf = scores.astype(np.float32).reshape(1, -1, 1, 1)
    want, count = plugins.nms(loc, conf, prior, params)
    session = onnxruntime.InferenceSession(lowered(params, prior[0], priors), providers=["CPUExecutionProvider"])
    top, found = session.run(["NMS", "NMS_1"], {"loc": loc, "conf": conf})
    np.testing.assert_array_equal(found, count)
    np.testing.assert_allclose(top[..., 1:], want[..., 1:], rtol=0, atol=2e-7)
    if places == 1:
        assert count.item() <= classes  # fewer than keepTopK: the first pass decides nothing


@pytest.mark.parametrize("clip_before", [False, True])
def test_boxes_are_clipped_first_where_the_graph_does_so(clip_before):
    """Two boxes that differ outside the image alone are one, or two; the agent's suppression says the same."""
    import onnxruntime

    rng = np.random.default_rng(5)
    corners = rng.uniform(-0.8, 0.6, (60, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + rng.uniform(0.3, 1.2, (60, 2)).astype(np.float32)], axis=1)
    boxes[:2] = [[-0.9, 0.1, 0.2, 0.5], [0.0, 0.1, 0.2, 0.5]]
    scores = rng.uniform(0, 0.8, (60, 3)).astype(np.float32)
    scores[:2, 1] = 0.9, 0.85
    params = Nms(3, 50, 20, 0.5, 0.3, conf_sigmoid=False, clip_before=clip_before)
    rows, count = suppress(boxes, scores, asdict(params))
    assert (rows[:count, 2] > 0.84).sum() == (1 if clip_before else 2)
    prior = np.stack([boxes, np.full_like(boxes, 0.1)])[:, :, None]
    session = onnxruntime.InferenceSession(lowered(params, prior, 60), providers=["CPUExecutionProvider"])
    feeds = {"loc": np.zeros((1, 240, 1, 1), np.float32), "conf": scores.reshape(1, -1, 1, 1)}
    top, number = session.run(["NMS", "NMS_1"], feeds)
    assert number.item() == count
    np.testing.assert_allclose(top[0, 0], rows, rtol=0, atol=1e-6)
