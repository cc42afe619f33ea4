"""What is read back from frozen graphs, against what TensorFlow and the exporter's own records say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.tasks.converter.graph.sketches import case_names, small_ssd

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.graph import Graph, Node, const
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd


@pytest.mark.parametrize("case", case_names())
def test_real_graphs_of_every_era(shared_data, case):
    folder = shared_data / "graphs" / case
    ssd = read_ssd(load_frozen_graph(folder / "frozen_inference_graph.pb"))
    meta = json.loads((folder / "meta.json").read_text())
    reference = np.load(folder / "reference.npz")
    assert list(ssd.input_size) == meta["input_hw"]
    assert ssd.num_classes == meta["classes"] + 1
    encoded = meta.get("input_type") == "encoded_image_string_tensor"
    assert ssd.image == (
        "encoded_image_string_tensor" if encoded else "input_tensor" if case[:3] == "TF2" else "image_tensor"
    )
    assert ssd.preprocessing.encoded == encoded
    assert (ssd.nms.max_per_class, ssd.nms.max_total, ssd.nms.soft_sigma) == (100, 100, 0)
    assert ssd.nms.score_threshold == pytest.approx(1e-8) and ssd.nms.iou_threshold == pytest.approx(0.6)
    assert ssd.preprocessing.scale == pytest.approx((2 / 255,) * 3) and ssd.preprocessing.offset == (-1, -1, -1)
    assert ssd.preprocessing.order == (
        "normalize_resize" if case[0] in "EFT" or case.startswith("trained_F") else "resize_normalize"
    )
    cut = [key for key in reference.files if key.startswith("T/")]
    if cut:  # TF2-native exports have no cut tensors
        for name in (ssd.preprocessing.tensor, ssd.encodings, ssd.logits):
            assert f"T/{name}:0_0" in cut
        anchors = [reference[key] for key in cut if reference[key].shape == ssd.anchors.shape]
        assert anchors and all(np.array_equal(found, ssd.anchors) for found in anchors)


@pytest.mark.parametrize(
    "case, scales, per_cell, kind, converter",
    [
        ("C_t15_v2_box_c6", (8, 12, 4, 6), [3, 6, 6, 6, 6, 6], "fixed_shape", "SIGMOID"),
        ("C_t15_v2_keeppad_224_c3", (10, 10, 5, 5), [3, 6, 6, 6, 6, 6], "keep_aspect_ratio", "SIGMOID"),
        ("F_t215_v2_softmax_160_c3", (10, 10, 5, 5), [3, 6, 6, 6, 6, 6], "fixed_shape", "SOFTMAX"),
        ("B_t13_v2_160_c1_noreduce", (10, 10, 5, 5), [6] * 6, "fixed_shape", "SIGMOID"),
        ("C_t15_v1_450_c3_ar", (10, 10, 5, 5), [3, 4, 4, 4, 4, 4], "fixed_shape", "SIGMOID"),
    ],
)
def test_each_graph_has_its_known_parameters(shared_data, case, scales, per_cell, kind, converter):
    ssd = read_ssd(load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb"))
    assert ssd.box_coder_scales == scales
    assert [head.anchors_per_cell for head in ssd.heads] == per_cell
    assert (ssd.preprocessing.kind, ssd.scores.converter) == (kind, converter)
    assert ssd.preprocessing.pad_to_max == (kind == "keep_aspect_ratio")


def test_old_softmax_leaves_the_background_out(shared_data):
    folder = shared_data / "graphs"
    old = read_ssd(load_frozen_graph(folder / "G17_t12_i2_160_c6_softmax" / "frozen_inference_graph.pb"))
    new = read_ssd(load_frozen_graph(folder / "F_t215_v2_softmax_160_c3" / "frozen_inference_graph.pb"))
    assert old.scores.without_background and not new.scores.without_background


def test_small_ssd():
    ssd = read_ssd(small_ssd(logit_scale=2.0, scales=(8.0, 12.0, 4.0, 6.0)))
    assert ssd.input_size == (16, 16) and ssd.image == "image_tensor" and ssd.preprocessing.tensor == "offset"
    assert ssd.preprocessing.kind == "none"
    assert ssd.feature_map_shapes == ((8, 8), (4, 4)) and [head.anchors_per_cell for head in ssd.heads] == [3, 2]
    assert ssd.box_coder_scales == (8, 12, 4, 6)
    assert (ssd.scores.converter, ssd.scores.logit_scale) == ("SIGMOID", 2.0)
    assert (ssd.nms.iou_threshold, ssd.nms.score_threshold, ssd.nms.max_per_class) == (0.5, 0.25, 7)
    assert not ssd.nms.class_agnostic
    assert ssd.num_priors == 8 * 8 * 3 + 4 * 4 * 2


def test_a_combined_suppression_is_read():
    graph = small_ssd()
    for node in graph.of("NonMaxSuppressionV3"):
        del graph.nodes[node.name]
    graph.add(const("total", np.int32(50)))
    inputs = ["h", "scores", "limit", "total", "iou", "score"]
    graph.add(Node("combined", "CombinedNonMaxSuppression", inputs, {}))
    nms = read_ssd(graph).nms
    assert nms.combined and not nms.class_agnostic and nms.soft_sigma == 0
    assert (nms.max_per_class, nms.max_total, nms.iou_threshold, nms.score_threshold) == (7, 50, 0.5, 0.25)


def test_renamed_nodes_give_the_same_ssd():
    """Every node renamed beyond recognition: the same SSD is found."""
    graph = small_ssd()
    names = {name: f"n{index}" for index, name in enumerate(graph.nodes)}
    renamed = []
    for node in graph:
        copy = node.copy()
        copy.name = names[node.name]
        copy.inputs = [
            names[ref.split(":")[0]] + (":" + ref.split(":")[1] if ":" in ref else "") for ref in node.inputs
        ]
        renamed.append(copy)
    renamed.reverse()  # nor does their order
    found, known = read_ssd(Graph(renamed)), read_ssd(graph)
    assert found.image == names[known.image] and found.logits == names[known.logits]
    assert found.feature_map_shapes == known.feature_map_shapes and found.nms == known.nms
    np.testing.assert_array_equal(found.anchors, known.anchors)


def test_what_is_no_ssd_is_refused(sketch):
    sketch.input("x", (1, 8, 8, 3))
    sketch.conv("c", "x", np.ones((3, 3, 3, 4)))
    with pytest.raises(GraphError, match="box decoder"):
        read_ssd(sketch.graph())


def test_a_size_that_contradicts_the_graph():
    with pytest.raises(GraphError, match="16x16, not 32x32"):
        read_ssd(small_ssd(), (32, 32))
