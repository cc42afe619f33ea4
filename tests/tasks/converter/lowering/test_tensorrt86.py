"""The lowered models against NVIDIA's TensorRT 8.6.1, which ran the UFF and ONNX files of the same graphs on a GPU.

float32, TensorRT's TF32 switched off.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.converter.lowering.golden import far

from jetlane.tasks.converter.ssd import plugins

FOLDER = Path(__file__).resolve().parents[3] / "golden" / "tensorrt86"
#: Graphs whose weights are here as they were run, and how far float32 in another order of operations takes them.
WHOLE = {"trained_F_t215_v2_160_c3": 1e-6, "C_t15_v1fpn_160_c3": 2e-4, "C_t15_qat_v2_160_c3": 2e-5}
#: Of several anchor generators and network sizes.
ANCHORS = (
    "trained_F_t215_v2_160_c3",
    "A_t13_lite_v2_224_c6",
    "C_t15_emb_v1_256_c3",
    "C_t15_v2_box_c6",
    "C_t15_v2_l5_160_c3",
    "F_t215_mdetcpu_160_c3",
)


def ran(name: str, variant: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}__{variant}_fp32_notf32.npz") as file:
        return {**file}


@pytest.mark.parametrize(("name", "tolerance"), WHOLE.items())
def test_boxes_and_scores_of_the_uff_are_those_of_the_lowering(converted: Any, name: str, tolerance: float) -> None:
    case = converted(name)
    boxes, scores = case.heads(np.ascontiguousarray(case.references()[0].pixels))
    library = ran(name, "uff")
    nms = replace(case.params.nms, input_order=(0, 2, 1))
    decoded = plugins.decode(library["loc"].reshape(-1, 1, 4), library["priors"].reshape(2, -1, 1), nms)[:, 0]
    assert far(decoded, boxes) <= tolerance
    logits = library["conf"].reshape(scores.shape).astype(np.float64)
    assert far(1 / (1 + np.exp(-logits)), scores) <= tolerance


@pytest.mark.parametrize("name", ["trained_F_t215_v2_160_c3"])
def test_boxes_and_scores_of_the_onnx_are_those_of_onnxruntime(converted: Any, name: str) -> None:
    case = converted(name)
    boxes, scores = case.heads(np.ascontiguousarray(case.references()[0].pixels))
    library = ran(name, "onnx")
    assert far(library["boxes"].reshape(boxes.shape), boxes) <= 1e-6
    assert far(library["scores"].reshape(scores.shape), scores) <= 1e-6


@pytest.mark.parametrize("name", ANCHORS)
def test_priors_of_grid_anchor_are_the_derived_ones(converted: Any, name: str) -> None:
    params = converted(name).params
    assert params.grid_anchor is not None
    made = np.concatenate(plugins.grid_anchor(params.grid_anchor), axis=1).reshape(2, -1)
    assert far(made, ran(name, "uff")["priors"].reshape(2, -1)) <= 2e-7
