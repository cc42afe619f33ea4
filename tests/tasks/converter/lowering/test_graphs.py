"""Frozen graphs of many years -> UFF -> ONNX, against what TensorFlow itself gave for the same images.

Raw boxes and scores are compared for every case; detections where the network was trained, or finds few enough that
their order does not hang on ties.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.converter.lowering.golden import CASES, MAGNIFYING, Case, far
from tests.tasks.converter.lowering.supported_models import COLUMNS, measure
from tests.uffparser.records import read_written
from tests.uffparser.written import changed, graph_of

from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.matching import match
from jetlane.tasks.converter.convert import ConvertOptions

TOLERANCE = 5e-4

MAGNIFIED = 4e-3

#: Not equal, and why.
DIFFERENT = {
    "C_t15_qat_v2_160_c3": "the simulated quantisation of activations is removed, and this untrained network's ranges "
    "(-6 to 6 in 256 steps) change its outputs entirely",
}


def cases(reasons: dict[tuple[str, str], str]) -> list:
    """(case, source of the network's input), the known differences marked."""
    return [
        pytest.param(name, source, marks=pytest.mark.xfail(strict=True, reason=reasons[name, source]))
        if (name, source) in reasons
        else (name, source)
        for name in CASES
        for source in ("stored input", "image")
        if source == "image" or not name.startswith("TF2_")  # their network's input was not stored
    ]


@pytest.mark.parametrize(
    ("name", "source"),
    cases({(name, source): DIFFERENT[name] for name in DIFFERENT for source in ("stored input", "image")}),
)
def test_raw_boxes_and_scores_are_tensorflows(converted, name, source):
    case = converted(name)
    compared = 0
    for reference in case.references():
        pixels = (
            reference.pixels
            if source == "stored input"
            else to_input(reference.image, case.facts["plugins"]["input"])[0]
        )
        if pixels is None or reference.boxes is None:
            continue
        boxes, scores = case.heads(np.ascontiguousarray(pixels))
        scores = scores[:, -reference.scores.shape[1] :]
        distances = {"boxes": far(boxes, reference.boxes), "scores": far(scores, reference.scores)}
        compared += 1
        if name not in MAGNIFYING or max(distances.values()) <= TOLERANCE:
            assert max(distances.values()) <= TOLERANCE, distances
            continue
        assert max(distances.values()) <= MAGNIFIED, distances
        assert np.quantile(np.abs(boxes - reference.boxes), 0.98) <= TOLERANCE
        true_boxes, true_scores = case.in_float64(pixels)
        assert far(boxes, true_boxes) <= MAGNIFIED / 2
        assert far(scores, true_scores[:, -scores.shape[1] :]) <= MAGNIFIED / 2
    assert compared


@pytest.mark.parametrize("name", CASES)
def test_our_network_input_is_tensorflows(converted, name):
    case = converted(name)
    for reference in case.references():
        if reference.pixels is not None:
            pixels, _ = to_input(reference.image, case.facts["plugins"]["input"])
            assert far(pixels, reference.pixels) <= 1e-4


@pytest.mark.parametrize(("name", "source"), cases({}))
def test_detections_match_one_to_one(converted, name, source):
    case = converted(name)
    for reference in case.references():
        expected = reference.detections.above(0.3)
        if len(expected) >= 100:
            continue  # cut off at 100 among near-ties: the raw scores above are the measure
        pixels, content = to_input(reference.image, case.facts["plugins"]["input"])
        if source == "stored input":
            if reference.pixels is None:
                continue
            pixels = np.ascontiguousarray(reference.pixels)
        report = match(expected, case.detect(pixels, content), 0.99, 0.005)
        assert report.agreed, report.to_json()
        if name.startswith("trained_") and report.pairs:
            assert report.lowest_iou > 0.99999 and report.largest_score_difference < 1e-5


def test_the_trained_cases_find_something(converted):
    found = [len(one.detections.above(0.3)) for name in CASES if name.startswith("trained_")
             for one in converted(name).references()]  # fmt: skip
    assert sum(found) >= 15


@pytest.mark.parametrize("name", CASES)
def test_files_are_complete_and_old_runtimes_read_them(converted, name):
    import onnx

    case = converted(name)
    assert sorted(path.name for path in case.out.iterdir()) == sorted(case.facts["files"])
    shapes = {
        "model.onnx": ["NMS", "NMS_1"],
        "model.eval.onnx": ["NMS", "NMS_1"],
        "model.trt.onnx": ["boxes", "scores"],
    }
    for file, outputs in shapes.items():
        model = onnx.load(str(case.out / file))
        onnx.checker.check_model(model, full_check=True)
        assert (model.ir_version, model.opset_import[0].version) == (8, 13)
        assert [value.name for value in model.graph.output] == outputs
        dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
        assert dims == [1, 3, case.params.input.height, case.params.input.width]


#: Preprocessing of both eras, padded images, channel means, no grid anchors.
NORMALIZED = ["C_t15_v2_keeppad_224_c3", "C_t15_v1fpn_160_c3", "trained_A_t13_v2_160_c3", "trained_F_t215_v2_160_c3"]


@pytest.mark.parametrize("name", NORMALIZED)
def test_an_engine_that_normalises_finds_the_same_in_raw_pixels(shared_data, tmp_path, name):
    case = Case(shared_data / "graphs" / name, tmp_path, ConvertOptions(normalize="engine"))
    image = case.facts["plugins"]["input"]
    assert image["normalize"] == {"scale": [1.0] * 3, "offset": [0.0] * 3}
    assert case.facts["unproven"] == []
    for reference in case.references():
        pixels, content = to_input(reference.image, image)
        assert pixels.max() > 200
        boxes, scores = case.heads(pixels)
        assert far(boxes, reference.boxes) <= TOLERANCE
        assert far(scores[:, -reference.scores.shape[1] :], reference.scores) <= TOLERANCE
        expected = reference.detections.above(0.3)
        if len(expected) < 100:
            assert match(expected, case.detect(pixels, content), 0.99, 0.005).agreed


def test_anchors_as_a_constant_find_the_same(converted, shared_data, tmp_path):
    name = "trained_C_t15_v1_160_c3"
    case = Case(shared_data / "graphs" / name, tmp_path, ConvertOptions(anchors="constant"))
    assert b"GridAnchor_TRT" not in (case.out / "model.uff").read_bytes()
    for reference in case.references():
        pixels, _ = to_input(reference.image, case.facts["plugins"]["input"])
        for ours, plugin in zip(case.heads(pixels), converted(name).heads(pixels)):
            assert far(ours, plugin) <= 1e-6


@pytest.mark.parametrize("name", CASES)
def test_the_uff_is_the_one_that_tensorrt_was_run_on(converted, name):
    case = converted(name)
    again = changed([graph_of(name, case.out, case.facts)], read_written())
    assert not again, f"TensorRT was not run on what is written now: {'; '.join(again)}. Run `make evidence`"


@pytest.fixture(scope="module")
def stated(repository):
    """The rows of docs/supported-models.md: {graph: cells}."""
    text = (repository / "docs" / "supported-models.md").read_text().partition("\n## ")[0]
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line.startswith("| ")]
    assert rows[0] == list(COLUMNS)
    return {row[0].partition(" ")[0]: row for row in rows[1:]}


def test_the_page_has_every_case(stated):
    assert list(stated) == CASES


@pytest.mark.parametrize("name", CASES)
def test_the_page_says_what_is(converted, stated, name):
    """All but the last digits of how close it is, which depend on the machine."""

    def without_figures(cell: str) -> str:
        return re.sub(r"\d\.\d+(e-\d+)?|\de[-+]\d+", "#", cell)

    now = measure(name, converted(name)).cells
    assert [without_figures(cell) for cell in now[1:]] == [without_figures(cell) for cell in stated[name][1:]]
    said, found = (
        [float(number) for cell in cells[6:8] for number in cell.split(", ") if number != "-"]
        for cells in (stated[name], now)
    )
    assert len(said) == len(found) and all(left <= 30 * right + 1e-6 for left, right in zip(found, said))


@pytest.mark.tensorflow
def test_a_quantisation_aware_graph_is_itself_without_its_quantisers(converted, tmp_path):
    """The case that differs above differs by the removed quantisation alone."""
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    case = converted("C_t15_qat_v2_160_c3")
    tensor = next(key for key in case.stored if key.startswith("T/Preprocessor"))
    np.save(tmp_path / "pixels.npy", case.stored[tensor])
    program = Path(__file__).with_name("without_fake_quant.py")
    arguments = [case.folder / "frozen_inference_graph.pb", tmp_path / "pixels.npy", tensor[2:-2], tmp_path / "out.npz"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, program, *arguments], env=environment, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    boxes, scores = case.heads(np.ascontiguousarray(case.stored[tensor][0].transpose(2, 0, 1)))
    with np.load(tmp_path / "out.npz") as found:
        assert found["removed"] > 50
        assert far(boxes, found["boxes"][0][:, [1, 0, 3, 2]]) <= TOLERANCE
        assert far(scores, found["scores"][0]) <= TOLERANCE
