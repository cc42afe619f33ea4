"""Frozen SSD -> UFF: what is written computes what TensorFlow computed, and is put together as the plugins want it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tasks.converter.graph.sketches import Sketch, case_names, small_ssd
from tests.tasks.converter.uff import interpreter
from tests.tasks.converter.uff.interpreter import run
from tests.tasks.converter.uff.plugin_parameters import parameters

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph import simplify
from jetlane.tasks.converter.graph.graph import Node
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.graph.value_ops import VALUE_OPS
from jetlane.tasks.converter.ssd.crosscheck import graph_priors
from jetlane.tasks.converter.uff import convert_graph, read_uff, uff_to_bytes, write_uff
from jetlane.tasks.converter.uff.from_graph import convert

#: Largest difference of decoded boxes and of scores. Untrained graphs amplify rounding: in three of them TensorFlow's
#: own encodings are up to 1.2e-2 from what float64 gives, ours as far.
TOLERANCES = {
    "B_t13_v2_160_c1_noreduce": 1e-2,
    "F_t215_lite_v2_224_c6": 2e-3,
    "E_t15_v1_strides_300_c3": 1e-3,
    **dict.fromkeys((case for case in case_names() if case.startswith("trained")), 2e-6),
}

CASES = [case for case in case_names() if not case.startswith("TF2") and "qat" not in case]


def _converted(folder, **options):
    graph = load_frozen_graph(folder / "frozen_inference_graph.pb")
    ssd = read_ssd(graph)
    return ssd, convert(graph, ssd, parameters(ssd, **options))


def _decoded(ssd, encodings):
    """Boxes ymin, xmin, ymax, xmax, float32 [priors, 4]."""
    y, x, h, w = (encodings.reshape(-1, 4) / np.array(ssd.box_coder_scales, np.float32)).T
    height, width = ssd.anchors[:, 2] - ssd.anchors[:, 0], ssd.anchors[:, 3] - ssd.anchors[:, 1]
    y, x = y * height + ssd.anchors[:, 0] + height / 2, x * width + ssd.anchors[:, 1] + width / 2
    h, w = np.exp(h) * height / 2, np.exp(w) * width / 2
    return np.stack([y - h, x - w, y + h, x + w], 1)


def _scores(ssd, logits):
    logits = logits.reshape(-1, ssd.num_classes).astype(np.float64)
    if ssd.scores.converter == "SIGMOID":
        return 1 / (1 + np.exp(-logits))
    if ssd.scores.without_background:
        logits[:, 0] = -np.inf
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


@pytest.mark.parametrize("case", CASES)
def test_boxes_and_scores_are_tensorflows(shared_data, case):
    """From the stored network input: what TensorFlow fed its network with, without the resize before it."""
    folder = shared_data / "graphs" / case
    ssd, uff = _converted(folder, constant=True)
    reference = np.load(folder / "reference.npz")
    stored = [k for k in range(4) if f"T/{ssd.preprocessing.tensor}:0_{k}" in reference]
    assert stored
    for k in stored:
        image = reference[f"T/{ssd.preprocessing.tensor}:0_{k}"]
        locations, confidences = run(uff, {"Input": image}, ["concat_box_loc", "concat_box_conf"])
        boxes = _decoded(ssd, reference[f"T/{ssd.encodings}:0_{k}"])
        scores = _scores(ssd, reference[f"T/{ssd.logits}:0_{k}"])
        found = confidences.reshape(scores.shape) if ssd.scores.converter == "SOFTMAX" else _scores(ssd, confidences)
        tolerance = TOLERANCES.get(case, 5e-4)
        assert abs(_decoded(ssd, locations) - boxes).max() <= tolerance
        assert abs(found - scores).max() <= tolerance


@pytest.mark.parametrize("case", ["TF2_v2keras_160_c3", "TF2_v2fpnkeras_160_c3"])
def test_tf2_native_export(shared_data, case):
    """These have no cut tensors stored: from the image itself, by the resize of the graph, to its raw outputs."""
    from PIL import Image

    folder = shared_data / "graphs" / case
    ssd, uff = _converted(folder, constant=True)
    assert ssd.preprocessing.order == "normalize_resize" and not ssd.preprocessing.half_pixel_centers
    reference = np.load(folder / "reference.npz")
    image = np.asarray(Image.open(shared_data / "graphs" / "images" / "img0.png").convert("RGB"), np.float32)
    image = image * np.float32(ssd.preprocessing.scale[0]) + np.float32(ssd.preprocessing.offset[0])
    locations, confidences = run(
        uff, {"Input": _resized(image, *ssd.input_size)}, ["concat_box_loc", "concat_box_conf"]
    )
    assert abs(_decoded(ssd, locations) - reference["raw_detection_boxes_0"][0]).max() < 1e-4
    assert abs(_scores(ssd, confidences) - reference["raw_detection_scores_0"][0]).max() < 1e-4


def _resized(image, height, width):
    """TensorFlow's bilinear resize without half-pixel centres, float32 [1, height, width, 3]."""
    for axis, size in ((0, height), (1, width)):
        places = np.arange(size, dtype=np.float32) * np.float32(image.shape[axis] / size)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, image.shape[axis] - 1)
        share = (places - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        first = image.take(low, axis)
        image = first + (image.take(high, axis) - first) * share
    return image[None]


def test_quantisation_aware_graph(shared_data, monkeypatch):
    """Ranges of activations are removed, with a warning; with them left in, the rest computes what TensorFlow did."""
    folder = shared_data / "graphs" / "C_t15_qat_v2_160_c3"
    ssd, uff = _converted(folder)
    assert any(applied.warning and applied.count == 83 for applied in ssd.rewrites)
    assert "_FakeQuantWithMinMaxVars" not in {node.operation for node in uff.nodes}

    def quantised(fields, x, low, high):
        return VALUE_OPS["FakeQuantWithMinMaxVars"](Node("q", "q", (), fields), x, low, high)[0]

    monkeypatch.setattr(simplify, "remove_fake_quant", lambda graph: Applied("fake quantisation", 0, "left in"))
    monkeypatch.setitem(interpreter._OPERATIONS, "_FakeQuantWithMinMaxVars", quantised)
    graph = load_frozen_graph(folder / "frozen_inference_graph.pb")
    kept = convert(graph, ssd, parameters(ssd))
    reference = np.load(folder / "reference.npz")
    image = reference[f"T/{ssd.preprocessing.tensor}:0_0"]
    found = run(kept, {"Input": image}, ["concat_box_loc", "concat_box_conf"])
    low, high = np.float32(-6), np.float32(6)  # the heads' own range stands behind their outputs
    for values, name in zip(found, (ssd.encodings, ssd.logits)):
        expected = reference[f"T/{name}:0_0"]
        difference = abs(quantised({}, values, low, high).reshape(expected.shape) - expected)
        assert (
            np.mean(difference > 1e-4) < 0.02 and difference.max() < 0.1
        )  # one step of the grid, where rounding tips over


@pytest.mark.parametrize(
    "case",
    [
        "trained_A_t13_v2_160_c3",
        "trained_C_t15_v1_160_c3",
        "G17_t12_v1_160_c3_min05",
        "G18a_t12_lite_v2_160_c3",
        "F_t215_i2_160_c3",
        "F_t215_v1ppn_160_c3",
        "C_t15_v1fpn_160_c3",
        "TF2_v2fpnkeras_160_c3",
        "E_t15_v3small_160_c3",
        "F_t215_mdetcpu_160_c3",
        "F_t215_v2_softmax_160_c3",
    ],
)
def test_every_pattern_is_proven_and_every_node_accounted_for(shared_data, case):
    _, uff = _converted(shared_data / "graphs" / case, constant=True)
    assert not uff.unproven
    listed = [name for item in uff.evidence for name in item.nodes]
    assert sorted(listed) == sorted(node.id for node in uff.nodes)


def test_plugin_nodes_on_the_plugin_route():
    graph = small_ssd()
    ssd = read_ssd(graph)
    uff = convert(graph, ssd, parameters(ssd, input_order=(1, 0, 2), keep_top_k=50))
    nms, anchors = uff.node("NMS"), uff.node("GridAnchor")
    assert nms.inputs == ("concat_box_conf", "concat_box_loc", "concat_priorbox")
    assert nms.fields["inputOrder_u_ilist"] == [1, 0, 2] and nms.fields["keepTopK_u_int"] == 50
    assert nms.fields["confidenceThreshold_u_float"] == float(np.float32(0.3))
    assert anchors.operation == "_GridAnchor_TRT" and anchors.fields["featureMapShapes_u_ilist"] == [8, 4]
    assert len(anchors.inputs) == 1 and uff.node(anchors.inputs[0]).operation == "Const"
    assert (uff.node("concat_priorbox").operation, uff.node("concat_priorbox").fields) == ("Concat", {"axis": 2})
    assert uff.node("Input").fields == {"shape": [1, 3, 16, 16], "dtype": "DT_FLOAT32"}
    for name in ("concat_box_loc", "concat_box_conf"):  # TensorRT 5.1 has no FlattenConcat_TRT
        assert (uff.node(name).operation, uff.node(name).fields) == ("Concat", {"axis": 1})
    assert uff.nodes[-1].id == "MarkOutput_0" and uff.nodes[-1].inputs == ("NMS",)


def test_non_square_maps_take_the_rect_plugin(shared_data):
    _, uff = _converted(shared_data / "graphs" / "C_t14_v2_192x320_c3")
    node = uff.node("GridAnchor")
    assert node.operation == "_GridAnchorRect_TRT"
    assert node.fields["featureMapShapes_u_ilist"] == [12, 20, 6, 10, 3, 5, 2, 3, 1, 2, 1, 1]


def test_constant_priors():
    graph = small_ssd(scales=(8.0, 12.0, 4.0, 6.0))
    ssd = read_ssd(graph)
    own = convert(graph, ssd, parameters(ssd, constant=True)).node("concat_priorbox")
    values = own.fields["values"]
    assert own.operation == "Const" and values.shape == (2, ssd.num_priors * 4, 1)
    np.testing.assert_array_equal(values[0, 4:8, 0], ssd.anchors[1, [1, 0, 3, 2]])
    np.testing.assert_allclose(values[1, :4, 0], [1 / 12, 1 / 8, 1 / 6, 1 / 4])
    given = graph_priors(ssd) + 1
    other = convert(graph, ssd, parameters(ssd, constant=True), priors=given[:, :, 0])
    np.testing.assert_array_equal(other.node("concat_priorbox").fields["values"], given)
    with pytest.raises(ConversionError, match="priors"):
        convert(graph, ssd, parameters(ssd, constant=True), priors=given[:, :-4])


@pytest.mark.parametrize("slice_before", [False, True])
@pytest.mark.parametrize("logit_scale", [None, 3.0])
def test_softmax_with_and_without_background(slice_before, logit_scale):
    graph = small_ssd("Softmax", classes=3, logit_scale=logit_scale, slice_before=slice_before)
    ssd = read_ssd(graph)
    assert (ssd.scores.converter, ssd.scores.without_background) == ("SOFTMAX", slice_before)
    uff = convert(graph, ssd, parameters(ssd, constant=True))
    plain = small_ssd("Sigmoid", classes=3)
    plain_ssd = read_ssd(plain)
    image = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    (scores,) = run(uff, {"Input": image}, ["concat_box_conf"])
    (logits,) = run(convert(plain, plain_ssd, parameters(plain_ssd)), {"Input": image}, ["concat_box_conf"])
    logits = logits.reshape(1, -1, 4) / (logit_scale or 1)
    logits = logits[..., 1:] if slice_before else logits
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = scores.reshape(1, -1, 4)
    np.testing.assert_allclose(found[..., 4 - expected.shape[-1] :], expected, atol=1e-5)
    if slice_before:
        assert not found[..., 0].any()


def test_parameters_of_another_model_are_refused():
    graph = small_ssd()
    ssd = read_ssd(graph)
    with pytest.raises(ConversionError, match="classes with background: 3 and 7"):
        convert(graph, ssd, parameters(ssd, num_classes=7))
    with pytest.raises(ConversionError, match="score converter: SIGMOID and SOFTMAX"):
        convert(graph, ssd, parameters(read_ssd(small_ssd("Softmax"))))
    other = read_ssd(small_ssd(classes=5))
    with pytest.raises(ConversionError, match="differ"):
        convert(graph, ssd, parameters(other))


def test_a_plugins_name_that_is_taken():
    graph = small_ssd()
    for node in graph:
        node.inputs = ["NMS" if ref == "relu1" else ref for ref in node.inputs]
    relu = graph.nodes.pop("relu1")
    relu.name = "NMS"
    graph.add(relu)
    ssd = read_ssd(graph)
    with pytest.raises(ConversionError, match="belong to the plugins"):
        convert(graph, ssd, parameters(ssd))


def test_conversion_is_deterministic_and_leaves_the_graph_alone(tmp_path):
    graph = small_ssd()
    before = [(node.name, node.op, list(node.inputs)) for node in graph]
    ssd = read_ssd(graph)
    first, second = (convert(graph, ssd, parameters(ssd)) for _ in range(2))
    assert uff_to_bytes(first) == uff_to_bytes(second)
    assert [(node.name, node.op, list(node.inputs)) for node in graph] == before
    write_uff(first, tmp_path / "model.uff")
    back = read_uff(tmp_path / "model.uff")
    for ours, read in zip(first.nodes, back.nodes):
        assert (ours.id, ours.operation, ours.inputs) == (read.id, read.operation, read.inputs)
        for key, value in ours.fields.items():
            np.testing.assert_array_equal(value, read.fields[key])


def test_unknown_operations_become_custom_ones_with_their_attributes():
    g = Sketch()
    g.input("x", (1, 4))
    g.add("y", "Rare", "x", alpha=0.5, sizes=[1, 2], names=["a"], flag=True, empty=[])
    node = convert_graph(g.graph(), ["y"]).node("y")
    assert node.operation == "_Rare"
    assert node.fields == {"alpha": 0.5, "sizes": [1, 2], "names": ["a"], "flag": True}


def test_what_uff_cannot_say_is_named():
    g = Sketch()
    g.input("x", (1, 4, 4, 3))
    g.input("axes", (1,))
    g.add("y", "Mean", "x", "axes")
    with pytest.raises(ConversionError, match="axes of Mean 'y' is not a constant"):
        convert_graph(g.graph(), ["y"])
    with pytest.raises(ConversionError, match="'z' was not found"):
        convert_graph(g.graph(), ["z"])


def test_symmetric_padding_becomes_a_field_and_flatten_is_told_by_its_scope():
    g = Sketch()
    g.input("x", (1, 4, 4, 3))
    g.with_const("pad", "Pad", "x", np.array([(0, 0), (2, 2), (1, 1), (0, 0)], np.int32))
    g.conv("c", "pad", np.ones((3, 3, 3, 2)), padding="VALID")
    g.const("flatten/shape", np.array([-1, 48], np.int32))
    g.add("flatten/Reshape", "Reshape", "c", "flatten/shape")
    g.with_const("y", "MatMul", "flatten/Reshape", np.ones((48, 2), np.float32))
    uff = convert_graph(g.graph(), ["y"])
    assert uff.node("c").fields["padding"] == [2, 1] and uff.node("c").inputs[0] == "x"
    assert uff.node("flatten/Reshape").operation == "Flatten"
    operations = ["FullyConnected", "Const", "Flatten", "Conv", "Const", "Input", "MarkOutput"]
    assert [node.operation for node in uff.nodes] == operations
