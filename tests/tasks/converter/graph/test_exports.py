"""Real graphs as other tools and other export settings leave them: the same SSD is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from jetlane.specs.errors import DerivationError, GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node, TfShape, const, node_of
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.rewrites.constants import fold_constants
from jetlane.tasks.converter.graph.simplify import simplify
from jetlane.tasks.converter.graph.ssd import SsdGraph, read_ssd
from jetlane.tasks.converter.ssd import config
from jetlane.tasks.converter.ssd.config_py import refusal
from jetlane.tasks.converter.ssd.crosscheck import crosscheck
from jetlane.tasks.converter.ssd.derive import derive

CASE = "trained_F_t215_v2_160_c3"
#: Of every era that differs in its post-processing.
ERAS = [
    CASE,
    "A_t13_v1_160_c3",
    "C_t15_v2_box_c6",
    "G17_t12_v1_160_c3_min05",
    "G18m_t12_v2_160_c3",
    "TF2_v2keras_160_c3",
]


def loaded(shared_data, case: str = CASE) -> Graph:
    return load_frozen_graph(shared_data / "graphs" / case / "frozen_inference_graph.pb")


def same(found: SsdGraph, known: SsdGraph) -> None:
    assert found.feature_map_shapes == known.feature_map_shapes and found.num_classes == known.num_classes
    assert found.scores == known.scores and found.nms == known.nms
    assert found.box_coder_scales == pytest.approx(known.box_coder_scales, rel=1e-6)
    np.testing.assert_allclose(found.anchors, known.anchors, rtol=0, atol=2.5e-7)


@pytest.mark.parametrize("case", ERAS)
@pytest.mark.parametrize("total", [1, 37])
def test_the_total_of_the_suppression_is_told_from_all_other_minima(shared_data, case: str, total: int) -> None:
    graph = loaded(shared_data, case)
    simple, _ = simplify(graph)
    limits = {node_of(node.inputs[2]) for node in simple if node.op.startswith("NonMaxSuppression")}
    changed = []
    for node in simple.of("Range"):
        bound = simple[node.inputs[1]]
        if bound.op == "Minimum" and bound.name not in limits:
            changed += [ref for ref in bound.inputs if simple[ref].op == "Const"]
    assert len(changed) == 1
    graph.add(const(node_of(changed[0]), np.int32(total)))
    assert read_ssd(graph).nms.max_total == total


@pytest.mark.parametrize("case", ERAS)
def test_folded_constants(shared_data, case: str) -> None:
    graph = loaded(shared_data, case)
    known = read_ssd(graph)
    simple, _ = simplify(graph)
    entry = known.preprocessing.tensor
    fold_constants(simple, Evaluator(simple, {entry: (1, *known.input_size, 3)}))
    same(read_ssd(simple), known)


def test_scales_that_were_folded_into_the_anchors(shared_data) -> None:
    """Grappler turns ``code / 10 * side`` into ``code * (side / 10)``."""
    graph = loaded(shared_data, "C_t15_v2_box_c6")
    known = read_ssd(graph)
    simple, _ = simplify(graph)
    fold_constants(simple, Evaluator(simple, {known.preprocessing.tensor: (1, *known.input_size, 3)}))
    merged = 0
    for product in simple.of("Mul"):
        code = simple[product.inputs[0]]
        sides = simple[product.inputs[1]]
        if code.op == "RealDiv" and simple[code.inputs[0]].op == "Unpack" and sides.op == "Const":
            smaller = simple.add(const(f"{product.name}/folded", sides.value / simple[code.inputs[1]].value))
            product.inputs[:] = [code.inputs[0], smaller.name]
            merged += 1
    simple.changed()
    assert merged == 2
    found = read_ssd(simple)
    assert found.box_coder_scales == (8, 12, 4, 6) and found.constant_anchors
    same(found, known)


@pytest.mark.parametrize("case", [CASE, "C_t15_v2_box_c6"])
def test_halves_that_were_folded_into_the_anchors(shared_data, case: str) -> None:
    """Grappler turns ``exp(code) * side / 2`` into ``exp(code) * (side / 2)``."""
    graph = loaded(shared_data, case)
    known = read_ssd(graph)
    simple, _ = simplify(graph)
    fold_constants(simple, Evaluator(simple, {known.preprocessing.tensor: (1, *known.input_size, 3)}))
    halves = {}
    for product in simple.of("Mul"):
        if simple[product.inputs[0]].op == "Exp":
            side = simple.add(const(f"{product.name}/half", simple[product.inputs[1]].value / np.float32(2)))
            product.inputs[1] = side.name
            halves |= {reader.name: product.name for reader in simple.consumers(product.name)}
    assert len(halves) == 4
    simple.redirect(halves)
    for name in halves:
        del simple.nodes[name]
    simple.changed()
    same(read_ssd(simple), known)


def test_decoder_constants_that_do_not_fit_each_other_are_refused(shared_data) -> None:
    graph = loaded(shared_data)
    known = read_ssd(graph)
    simple, _ = simplify(graph)
    fold_constants(simple, Evaluator(simple, {known.preprocessing.tensor: (1, *known.input_size, 3)}))
    product = next(
        node
        for node in simple.of("Mul")
        if simple[node.inputs[1]].op == "Const" and simple[node.inputs[1]].value.shape == (known.num_priors,)
        and simple[node.inputs[0]].op != "Exp"
    )  # fmt: skip
    wrong = simple[product.inputs[1]].value.copy()
    wrong[0] *= 2
    product.inputs[1] = simple.add(const("wrong", wrong)).name
    with pytest.raises(GraphError, match="cannot be worked out") as error:
        read_ssd(simple)
    assert "export_inference_graph" in error.value.remedy


def test_a_network_of_another_family_is_said_and_does_no_harm(shared_data) -> None:
    read = config.read(shared_data / "graphs" / CASE / "pipeline.config")
    graph = read_ssd(loaded(shared_data))
    plain = crosscheck(read, derive(read), graph)
    assert not any("feature_extractor" in note for note in plain.notes)
    other = config.parse(read.text.replace('"ssd_mobilenet_v2"', '"ssd_mobilenet_v1"'))
    params = crosscheck(other, derive(other), graph)
    (note,) = [note for note in params.notes if "feature_extractor" in note]
    assert note.startswith(other.where("model.ssd.feature_extractor.type")) and "a MobileNet v2" in note
    assert params.nms == plain.nms and params.grid_anchor == plain.grid_anchor
    harmful = config.parse(read.text.replace('"ssd_mobilenet_v2"', '"ssd_resnet50_v1_ppn"'))
    with pytest.raises(DerivationError, match="normalisation's factor") as error:
        crosscheck(harmful, derive(harmful), graph)
    assert "the graph's network is a MobileNet v2" in error.value.why


def test_an_export_for_images_of_one_size_is_held_against_the_resizer(shared_data) -> None:
    """The resizer does nothing to such an image: the export has no resize."""
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    graph = loaded(shared_data)
    known = read_ssd(graph)
    graph.add(Node("image_tensor", "Placeholder", (), {"dtype": 4, "shape": TfShape((1, 160, 160, 3))}))
    entry = known.preprocessing.tensor
    graph.add(Node("pixels", "Cast", ["image_tensor"], {"SrcT": 4, "DstT": 1}))
    graph.add(const("scale", np.float32(2 / 255)))
    graph.add(const("one", np.float32(1)))
    graph.add(Node("scaled", "Mul", ["pixels", "scale"]))
    graph.add(Node(entry, "Sub", ["scaled", "one"]))
    found = read_ssd(graph)
    assert (found.preprocessing.kind, found.preprocessing.image_size) == ("none", (160, 160))
    read = config.read(folder / "pipeline.config")
    params = crosscheck(read, derive(read), found)
    assert params.input.resize.kind == "fixed_shape" and any("160x160 pixels alone" in note for note in params.notes)


def test_a_script_for_nvidias_converter_is_refused_where_namespaces_are_gone(shared_data) -> None:
    read = config.read(shared_data / "graphs" / CASE / "pipeline.config")
    known = read_ssd(loaded(shared_data))
    params = crosscheck(read, derive(read), known)
    assert refusal(params, known) == ""
    several = replace(known, preprocessing=replace(known.preprocessing, batch=4))
    prefixed = replace(
        known, preprocessing=replace(known.preprocessing, image="import/image_tensor"), logits="import/c"
    )
    cases = {
        "several images": several,
        "constants were folded": replace(known, constant_anchors=True),
        "one namespace all together": prefixed,
        "TensorFlow 2": replace(known, logits="StatefulPartitionedCall/concat_1"),
    }
    for words, graph in cases.items():
        assert words in refusal(params, graph)
