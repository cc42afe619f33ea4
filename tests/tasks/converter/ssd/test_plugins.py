"""The numpy reference of the plugins against what NVIDIA's own plugin code computed on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from jetlane.tasks.converter.lowering.ops.plugins import nms_of
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import GridAnchor, Nms
from jetlane.tasks.converter.uff.model import UffNode

GRID = [
    "300",
    "160",
    "300_min005",
    "320_v2",
    "300_min01_max09",
    "640_big",
    "ar3",
    "ar_order",
    "big_128thread",
    "one_layer",
    "rect",
    "var_asym",
]
NMS = [
    "c2_t100_b1",
    "c2_t200_b4",
    "c7_450",
    "c7_nosig_b4",
    "c7_t100_b1",
    "c7_t200_th03",
    "c91_b4_160",
    "c91_t100_b1",
    "fp16_c2",
    "fp16_c7_nosig",
    "fp16_scorebits10",
    "fp16_scorebits4",
]
RULES = [
    "batch_priors_agnostic",
    "bg_last",
    "bg_none",
    "center_size",
    "center_size_ve",
    "corner",
    "corner_size",
    "corner_ve",
    "empty_image",
    "input_order_012",
    "input_order_210",
    "not_normalized",
    "not_normalized_pixels",
    "sigmoid_overflow",
    "tf_center_ve",
    "threshold_negative",
    "threshold_strict",
    "threshold_zero",
    "ties_nosig",
]


def golden(shared_data: Path, name: str) -> tuple[dict, dict[str, np.ndarray]]:
    with np.load(shared_data / "plugins" / f"{name}.npz") as file:
        return json.loads(str(file["params"])), {key: file[key] for key in file.files if key != "params"}


def nms_params(fields: dict) -> Nms:
    return nms_of(UffNode("NMS", "_NMS_TRT", (), fields))


@pytest.mark.parametrize("case", GRID)
def test_grid_anchor_is_bit_identical(shared_data, case):
    fields, arrays = golden(shared_data, f"grid_{case}")
    shapes = fields["featureMapShapes"]
    pairs = list(zip(shapes[::2], shapes[1::2])) if "rect" in case else [(side, side) for side in shapes]
    params = GridAnchor(
        fields["numLayers"],
        fields["minSize"],
        fields["maxSize"],
        tuple(fields["aspectRatios"]),
        tuple(pairs),
        tuple(fields["variance"]),
    )
    layers = plugins.grid_anchor(params)
    assert len(layers) == params.num_layers
    for index, layer in enumerate(layers):
        np.testing.assert_array_equal(layer, arrays[f"out{index}"])


@pytest.mark.parametrize("case", [f"nms_{case}" for case in NMS] + [f"rule_{case}" for case in RULES])
def test_nms_is_the_plugins(shared_data, case):
    fields, arrays = golden(shared_data, case)
    params = nms_params(fields)
    top, count = plugins.nms(
        arrays["loc"],
        arrays["conf"],
        arrays["prior"],
        params,
        score_bits=fields["scoreBits"],
        batch_agnostic=bool(fields["isBatchAgnostic"]),
    )
    np.testing.assert_array_equal(count, arrays["keep"])
    if top.dtype == np.float16:
        np.testing.assert_array_equal(top, arrays["top"])
        return
    np.testing.assert_array_equal(top[..., :2], arrays["top"][..., :2])
    # Boxes of 300 pixels have coarser last places than boxes of 0..1.
    tolerance = 4e-6 if "pixels" in case else 2e-7
    np.testing.assert_allclose(top[..., 2:], arrays["top"][..., 2:], rtol=0, atol=tolerance)


@pytest.mark.parametrize("case", ["nms_c91_t100_b1", "nms_fp16_c2", "rule_corner_ve"])
def test_boxes_are_decoded_as_the_plugin_decodes(shared_data, case):
    fields, arrays = golden(shared_data, case)
    boxes = plugins.decode(arrays["loc"][0].reshape(fields["numPriors"], 1, 4), arrays["prior"][0], nms_params(fields))
    tolerance = 0 if case == "nms_fp16_c2" else 2e-7
    np.testing.assert_allclose(boxes, arrays["decoded_boxes"][0], rtol=0, atol=tolerance)


def test_keep_above_top_writes_nothing(shared_data):
    fields, arrays = golden(shared_data, "rule_keep_gt_top")
    top, count = plugins.nms(arrays["loc"], arrays["conf"], arrays["prior"], nms_params(fields))
    assert count.max() == arrays["keep"].max() == 0
    assert np.isnan(top).all()


@pytest.mark.parametrize("case", ["flat_axis1_b1", "flat_axis1_b4", "flat_axis1_ignorebatch"])
def test_flatten_concat(shared_data, case):
    _, arrays = golden(shared_data, case)
    inputs = [arrays[key] for key in sorted(arrays) if key.startswith("in")]
    images = 1 if "ignorebatch" in case else len(inputs[0])  # the others are never written then
    np.testing.assert_array_equal(plugins.flatten_concat(inputs)[:images], arrays["out"][:images])
