"""`jetlane convert --explain`: what is counted is there, and every node of the frozen graph is accounted for."""

from __future__ import annotations

import re
import subprocess
import sys
from math import prod

import pytest

from jetlane.tasks.converter.convert import ConvertOptions, convert_model, explain_model
from jetlane.tasks.converter.explain import as_text
from jetlane.tasks.converter.graph.load import load_frozen_graph


def files(shared_data, name):
    folder = shared_data / "graphs" / name
    return folder / "frozen_inference_graph.pb", folder / "pipeline.config"


@pytest.mark.parametrize(
    "name", ["F_t215_v2_300_c90", "C_t15_v1fpn_160_c3", "G17_t12_i2_160_c6_softmax", "TF2_v2keras_160_c3"]
)
def test_every_node_is_accounted_for(shared_data, name):
    explanation = explain_model(*files(shared_data, name))
    counted = sum(change.count for change in explanation.changes if change.kind in ("kept", "collapsed"))
    assert counted == len(load_frozen_graph(files(shared_data, name)[0]))
    largest = max(layer.bytes for layer in explanation.layers)
    assert largest <= explanation.peak_bytes < explanation.total_bytes


@pytest.mark.parametrize("name", ["trained_F_t215_v2_160_c3", "C_t15_v1_450_c3_ar", "E_t15_lite_v2_300_c90"])
def test_costs_are_those_of_the_lowered_convolutions(shared_data, tmp_path, name):
    import onnx

    convert_model(*files(shared_data, name), tmp_path)
    model = onnx.shape_inference.infer_shapes(onnx.load(str(tmp_path / "model.onnx")))
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.value_info
    }
    weights = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    macs = sum(prod(shapes[node.output[0]]) * prod(weights[node.input[1]][1:]) for node in convolutions)
    parameters = sum(prod(weights[name]) for node in convolutions for name in node.input[1:])
    explanation = explain_model(*files(shared_data, name))
    assert sum(layer.macs for layer in explanation.layers) == macs
    assert explanation.parameters == pytest.approx(
        parameters + sum(layer.parameters for layer in explanation.layers if layer.name == "concat_priorbox"), rel=0.02
    )
    assert [line.shape[1:] for line in explanation.layers][-1] == (1, 100, 7)


def test_kernels_that_levels_share_count_once(shared_data):
    explanation = explain_model(*files(shared_data, "C_t15_v1fpn_160_c3"))
    assert explanation.parameters < sum(layer.parameters for layer in explanation.layers) - 50_000


def test_warnings_and_doubts_are_shown(shared_data):
    text = as_text(explain_model(*files(shared_data, "C_t15_qat_v2_160_c3")))
    assert re.search(r"rewritten +83  WARNING: fake quantisation: .* boxes and scores move", text)
    text = as_text(explain_model(*files(shared_data, "E_t15_v3small_160_c3")))
    assert re.search(r"rewritten +9  means: means over a whole map made poolings", text)
    assert re.search(r"written as +25  AddV2 as Binary add", text)
    text = as_text(explain_model(*files(shared_data, "F_t215_v2_softmax_160_c3")))
    assert "unproven" not in text
    text = as_text(explain_model(*files(shared_data, "C_t15_v1fpn_160_c3"), ConvertOptions(normalize="engine")))
    assert "multiscale_anchor_generator" in text and "the engine normalises" in text
    assert re.search(r"normalize +Conv2D 1x1 \+ bias +160x160x3 +12 +230,400", text)


def test_the_command_prints_it_and_writes_only_where_told(shared_data, tmp_path):
    base = [sys.executable, "-m", "jetlane", "convert", *map(str, files(shared_data, "trained_C_t15_v1_160_c3"))]
    done = subprocess.run([*base, "--explain"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and not list(tmp_path.iterdir())
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["layer", "operation", "output", "parameters", "MACs", "activation"]
    assert "Conv2D 3x3/2 + bias + relu6" in done.stdout and "GridAnchor_TRT" in done.stdout
    both = subprocess.run([*base, "--explain", "-o", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert both.stdout.startswith(done.stdout.rstrip()) and (tmp_path / "out" / "model.uff").exists()
    neither = subprocess.run(base, cwd=tmp_path, capture_output=True, text=True)
    assert neither.returncode == 2 and "--output" in neither.stderr
