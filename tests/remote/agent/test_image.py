"""Image -> input against what TensorFlow itself gave: stored network inputs, and TensorFlow in a child process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.errors import AgentError
from jetlane.tasks.converter.ssd.params import InputSpec, Normalization, Resize

RESNET = Normalization((1.0, 1.0, 1.0), (-123.68, -116.779, -103.939))

#: case -> (input spec, the tensor that holds the network's input)
AFTER, BEFORE = "T/Preprocessor/sub:0_0", "T/Preprocessor/map/TensorArrayStack/TensorArrayGatherV3:0_0"
STORED = {
    "A_t13_v1_160_c3": (InputSpec(160, 160, order="resize_normalize"), AFTER),
    "C_t14_v2_192x320_c3": (InputSpec(192, 320, order="resize_normalize"), AFTER),
    "C_t15_v1_450_c3_ar": (InputSpec(450, 450, order="resize_normalize"), AFTER),
    "C_t15_v1fpn_160_c3": (InputSpec(160, 160, order="resize_normalize"), AFTER),
    "C_t15_v2_keeppad_224_c3": (
        InputSpec(224, 224, Resize("keep_aspect_ratio", 224, 224, True), order="resize_normalize"),
        AFTER,
    ),
    "G18m_t12_lite_v2_300_c3": (InputSpec(300, 300, order="resize_normalize"), AFTER),
    "E_t15_lite_v2_300_c90": (InputSpec(300, 300), BEFORE),
    "F_t215_v2_300_c90": (InputSpec(300, 300), BEFORE),
    "trained_F_t215_v2_160_c3": (InputSpec(160, 160), BEFORE),
}


def spec_json(spec: InputSpec) -> dict:
    return json.loads(json.dumps(asdict(spec)))


@pytest.mark.parametrize("case", sorted(STORED))
def test_equals_the_network_input_that_tensorflow_stored(shared_data: Path, case: str) -> None:
    from PIL import Image

    spec, tensor = STORED[case]
    image = np.asarray(Image.open(shared_data / "graphs" / "images" / "img0.png").convert("RGB"))
    with np.load(shared_data / "graphs" / case / "reference.npz") as reference:
        wanted = reference[tensor][0].transpose(2, 0, 1)
    got, content = to_input(image, spec_json(spec))
    assert got.dtype == np.float32 and got.flags.c_contiguous
    assert got.shape == wanted.shape == (3, spec.height, spec.width)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4)
    if spec.resize.kind == "fixed_shape":
        assert content == (1.0, 1.0)


# What tf.image.resize, and the OD API's own resize_to_range, make of the same pixels; run where TensorFlow is.
TENSORFLOW = """
import json, sys
import numpy as np
import tensorflow as tf
cases, folder = json.load(open(sys.argv[1])), sys.argv[2]
from object_detection.core import preprocessor
tf1 = tf.compat.v1
for number, case in enumerate(cases):
    spec = case["spec"]
    image = np.load(f"{folder}/{number}.npy")
    scale, offset = np.float32(spec["normalize"]["scale"]), np.float32(spec["normalize"]["offset"])
    value = tf.cast(image, tf.float32)
    first = spec["order"] == "normalize_resize"
    if first:
        value = value * scale + offset
    resize = spec["resize"]
    if resize["kind"] == "keep_aspect_ratio":
        value, _ = preprocessor.resize_to_range(
            value, min_dimension=resize["min_dimension"], max_dimension=resize["max_dimension"],
            pad_to_max_dimension=True, per_channel_pad_value=tuple(resize["pad_value"]))
    elif resize["half_pixel_centers"]:
        value = tf.image.resize(value, (spec["height"], spec["width"]))
    else:
        value = tf1.image.resize_images(value, (spec["height"], spec["width"]))
    if not first:
        value = value * scale + offset
    np.save(f"{folder}/{number}.out.npy", value.numpy().transpose(2, 0, 1))
"""


@pytest.mark.tensorflow
def test_equals_tensorflow_on_images_of_many_sizes(tmp_path: Path) -> None:
    if importlib.util.find_spec("object_detection") is None:
        pytest.skip("the Object Detection API is not installed")
    rng = np.random.default_rng(20)
    specs = [
        InputSpec(300, 300),
        InputSpec(160, 160, order="resize_normalize"),
        InputSpec(192, 320, normalize=RESNET),
        InputSpec(320, 320, Resize("fixed_shape", half_pixel_centers=True)),
        InputSpec(224, 224, Resize("keep_aspect_ratio", 224, 224, True), order="resize_normalize"),
        InputSpec(256, 256, Resize("keep_aspect_ratio", 128, 256, True, (10.0, 20.0, 30.0))),
    ]
    sizes = [(1, 1), (3, 640), (7, 3), (160, 160), (299, 301), (480, 640), (641, 427), (1080, 1920)]
    sizes += [(int(h), int(w)) for h, w in rng.integers(2, 900, (12, 2))]
    cases = [(spec, size) for size in sizes for spec in specs]
    for number, (_, size) in enumerate(cases):
        np.save(tmp_path / f"{number}.npy", rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    (tmp_path / "cases.json").write_text(json.dumps([{"spec": spec_json(spec)} for spec, _ in cases]))
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TENSORFLOW, str(tmp_path / "cases.json"), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    for number, (spec, size) in enumerate(cases):
        image, wanted = np.load(tmp_path / f"{number}.npy"), np.load(tmp_path / f"{number}.out.npy")
        got, _ = to_input(image, spec_json(spec))
        np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4, err_msg=f"{size} {spec}")


def test_content_tells_how_much_of_the_frame_the_image_fills() -> None:
    spec = spec_json(InputSpec(224, 224, Resize("keep_aspect_ratio", 224, 224, True, (255.0, 0.0, 0.0))))
    pixels, content = to_input(np.zeros((100, 200, 3), np.uint8), spec)
    assert content == (1.0, 0.5)
    assert (pixels[:, :112] == -1).all()
    assert (pixels[0, 112:] == 255).all() and (pixels[1:, 112:] == 0).all(), "2020 and later pad after normalising"
    spec["order"] = "resize_normalize"
    pixels, _ = to_input(np.zeros((100, 200, 3), np.uint8), spec)
    np.testing.assert_allclose(pixels[:, -1, 0], [1, -1, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("image", "change", "message"),
    [
        (np.zeros((4, 4), np.uint8), {}, "colour images"),
        (np.zeros((4, 4, 3), np.float32), {}, "float32"),
        (np.zeros((0, 4, 3), np.uint8), {}, r"\(0, 4, 3\)"),
        (np.zeros((4, 4, 3), np.uint8), {"order": "other"}, "order 'other'"),
        (np.zeros((4, 4, 3), np.uint8), {"resize": {"kind": "identity"}}, "'identity' is not known"),
        (
            np.zeros((1, 900, 3), np.uint8),
            {"resize": {"kind": "keep_aspect_ratio", "min_dimension": 160, "max_dimension": 160, "pad_to_max": True}},
            "1 x 900 is too narrow",
        ),
        (
            np.zeros((100, 200, 3), np.uint8),
            {"resize": {"kind": "keep_aspect_ratio", "min_dimension": 160, "max_dimension": 160}},
            "100 x 200 becomes 80 x 160, but the network reads 160 x 160",
        ),
    ],
)
def test_refuses_what_it_cannot_make_an_input_of(image: np.ndarray, change: dict, message: str) -> None:
    with pytest.raises(AgentError, match=message):
        to_input(image, {**spec_json(InputSpec(160, 160)), **change})
