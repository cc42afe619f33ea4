"""pipeline.config and frozen graph must say the same; anchors are those of the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.ssd import config, config_py
from jetlane.tasks.converter.ssd.crosscheck import crosscheck, graph_anchors
from jetlane.tasks.converter.ssd.derive import derive, reference_anchors
from jetlane.tasks.converter.ssd.params import PluginParams

#: case -> why its anchors travel as a constant; "" where GridAnchor_TRT makes them.
CASES = {
    "A_t13_lite_v2_224_c6": "",
    "A_t13_v1_160_c3": "",
    "B_t13_v2_160_c1_noreduce": "reduce_boxes_in_lowest_layer",
    "C_t14_v2_192x320_c3": "not square",
    "C_t15_emb_v1_256_c3": "",
    "C_t15_qat_v2_160_c3": "",
    "C_t15_v1_450_c3_ar": "aspect_ratios",
    "C_t15_v1fpn_160_c3": "multiscale_anchor_generator",
    "C_t15_v2_box_c6": "",
    "C_t15_v2_keeppad_224_c3": "",
    "C_t15_v2_l5_160_c3": "",
    "E_t15_lite_v2_300_c90": "",
    "E_t15_v1_strides_300_c3": "height_stride",
    "E_t15_v2_baseah_160": "base_anchor_height",
    "E_t15_v2_encstr_224": "",
    "E_t15_v3small_160_c3": "",
    "F_t215_i2_160_c3": "",
    "F_t215_lite_v2_224_c6": "",
    "F_t215_mdetcpu_160_c3": "",
    "F_t215_v1fpn_160_c3": "multiscale_anchor_generator",
    "F_t215_v1ppn_160_c3": "reduce_boxes_in_lowest_layer",
    "F_t215_v2_300_c90": "",
    "F_t215_v2_softmax_160_c3": "",
    "G17_t12_i2_160_c6_softmax": "2017",
    "G17_t12_v1_160_c3_min05": "2017",
    "G18a_t12_lite_v2_160_c3": "",
    "G18m_t12_lite_v2_300_c3": "",
    "G18m_t12_v2_160_c3": "",
    "TF2_v2fpnkeras_160_c3": "multiscale_anchor_generator",
    "TF2_v2keras_160_c3": "",
    "trained_A_t13_v2_160_c3": "",
    "trained_C_t15_v1_160_c3": "",
    "trained_F_t215_v1_160_c3": "",
    "trained_F_t215_v2_160_c3": "",
}


def load(folder: Path):
    return config.read(folder / "pipeline.config"), read_ssd(load_frozen_graph(folder / "frozen_inference_graph.pb"))


@pytest.mark.parametrize("case", CASES)
def test_graphs_of_all_years_agree_with_their_configs(shared_data, case):
    read, graph = load(shared_data / "graphs" / case)
    params = crosscheck(read, derive(read), graph)
    constant = [note for note in params.notes if note.startswith("anchors travel as a constant")]
    assert (params.grid_anchor is None) == bool(CASES[case]) == bool(constant)
    assert CASES[case] in "".join(constant)
    assert params.num_priors == len(graph.anchors)
    # The order of preprocessing changed with the exports of 2020, and TensorFlow 2 came after.
    newer = case.replace("trained_", "").startswith(("E_", "F_", "TF2_"))
    assert params.input.order == ("normalize_resize" if newer else "resize_normalize")
    assert params.nms.clip_before == case.startswith(("G17", "G18"))
    assert params.nms.clip_before == any("clips boxes" in note for note in params.notes)


@pytest.mark.parametrize("case", ["C_t14_v2_192x320_c3", "C_t15_v1fpn_160_c3", "E_t15_v1_strides_300_c3"])
def test_our_anchors_are_tensorflows(shared_data, case):
    read, graph = load(shared_data / "graphs" / case)
    with np.load(shared_data / "graphs" / case / "reference.npz") as reference:
        anchors = reference["T/Concatenate/concat:0_0"][:, [1, 0, 3, 2]]
    ours = reference_anchors(read, graph.feature_map_shapes, graph.input_size)
    np.testing.assert_allclose(ours, anchors, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("num_classes: 3", "num_classes: 4", "says 4 classes, the graph has 3"),
        ("height: 160 width: 160", "height: 300 width: 300", "(300, 300) pixels (height, width), the graph has (160"),
        ("y_scale: 10", "y_scale: 8", "says (8, 10, 5, 5) as the scales y, x, h, w, the graph has (10, 10, 5, 5)"),
        ("score_converter: SIGMOID", "score_converter: SOFTMAX", "SOFTMAX as the score converter, the graph"),
        ("iou_threshold: 0.6", "iou_threshold: 0.5", "says 0.5 as the IoU threshold, the graph has 0.6"),
        ("max_total_detections: 100", "max_total_detections: 50", "says 50 as max_total_detections, the graph has 100"),
        ("min_scale: 0.2", "min_scale: 0.3", "pipeline.config and graph have different anchors"),
        ('"ssd_mobilenet_v2"', '"ssd_resnet50_v1_ppn"', "as the normalisation's factor"),
    ],
)  # fmt: skip
def test_a_config_of_another_model_is_refused(shared_data, tmp_path, old, new, says):
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    _, graph = load(folder)
    text = (folder / "pipeline.config").read_text()
    assert old in text
    changed = config.parse(text.replace(old, new, 1))
    with pytest.raises(DerivationError) as error:
        crosscheck(changed, derive(changed), graph)
    assert says in error.value.what
    assert error.value.what.startswith("pipeline.config:")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"soft_sigma": 0.5}, "soft suppression (sigma 0.5)"),
        ({"class_agnostic": True}, "one suppression over all classes"),
    ],
)
def test_a_suppression_that_only_the_graph_tells_of_is_refused_by_the_configs_line(shared_data, changes, says):
    read, graph = load(shared_data / "graphs" / "trained_F_t215_v2_160_c3")
    line = read.where("model.ssd.post_processing.batch_non_max_suppression")
    with pytest.raises(DerivationError) as error:
        crosscheck(read, derive(read), replace(graph, nms=replace(graph.nms, **changes)))
    assert error.value.what == f"{line}: the graph has {says}" and line.startswith("pipeline.config:")


class _Recorder:
    """Stands for graphsurgeon and tensorflow: keeps what a config.py asks to be created."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict] = {}

    def create_node(self, name: str, **fields):
        self.nodes[name] = fields
        return name

    create_plugin_node = create_node
    float32 = "float32"


@pytest.mark.parametrize("case", ["trained_F_t215_v2_160_c3", "C_t15_v1fpn_160_c3"])
def test_config_py_holds_the_derived_numbers(shared_data, case, monkeypatch):
    import sys

    read, graph = load(shared_data / "graphs" / case)
    params: PluginParams = crosscheck(read, derive(read), graph)
    recorder = _Recorder()
    for module in ("graphsurgeon", "tensorflow"):
        monkeypatch.setitem(sys.modules, module, recorder)
    scope: dict = {}
    exec(compile(config_py.config_py(params, graph), "config.py", "exec"), scope)
    assert callable(scope["preprocess"])
    assert recorder.nodes["Input"]["shape"] == [1, 3, params.input.height, params.input.width]
    assert recorder.nodes["NMS"]["numClasses"] == params.nms.num_classes
    assert recorder.nodes["NMS"]["confidenceThreshold"] == 0.3
    if params.grid_anchor:
        assert recorder.nodes["GridAnchor"]["featureMapShapes"] == [10, 5, 3, 2, 1, 1]
        assert recorder.nodes["GridAnchor"]["aspectRatios"] == list(params.grid_anchor.aspect_ratios)
    else:
        rows = recorder.nodes["concat_priorbox"]["value"]
        np.testing.assert_array_equal(rows[0].reshape(-1, 4), graph_anchors(graph))
        np.testing.assert_allclose(rows[1].reshape(-1, 4)[-1], params.variances)
