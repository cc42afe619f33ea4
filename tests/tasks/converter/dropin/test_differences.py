"""What of a script is told from the graph it started from: anchors, scores, fields; and what is not told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

import pytest
from tests.tasks.converter.dropin.scripts import script

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin import uff
from jetlane.tasks.converter.dropin.originals import forget
from jetlane.tasks.converter.dropin.script import preprocess
from jetlane.tasks.converter.graph.load import load_frozen_graph
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.ssd.crosscheck import graph_priors
from jetlane.tasks.converter.uff import uff_from_bytes

GRAPH, WIDE = "trained_F_t215_v2_160_c3", "C_t14_v2_192x320_c3"
#: Numbers of a script for a model whose anchors no numbers give.
USUAL = {"num_layers": 6, "min_size": 0.2, "max_size": 0.95, "aspect_ratios": [1.0, 2.0, 0.5, 3.0, 0.3333]}
RECT = [12, 20, 6, 10, 3, 5, 2, 3, 1, 2, 1, 1]


def numbers_of(known: Any) -> dict[str, Any]:
    """A model's numbers; where no numbers give its anchors, those that people take."""
    usual = {**USUAL, "feature_map_shapes": known.plugins["feature_map_shapes"]}
    return {**known.plugins, "grid_anchor": known.plugins["grid_anchor"] or usual}


@pytest.fixture
def told(case: Any, tmp_path: Path, capsys: Any) -> Any:
    """Convert a graph by a script; returns the UFF, and what was said on both streams."""

    def run(name: str, replaced: tuple[str, str] = ("", ""), strict: bool = False, **changed: Any) -> Any:
        known = case(name)
        plugins = {**known.plugins}
        plugins["grid_anchor"] = plugins["grid_anchor"] or {
            **USUAL,
            "feature_map_shapes": plugins["feature_map_shapes"],
        }
        text = script(plugins, **changed)
        assert replaced[0] in text
        (tmp_path / "config.py").write_text(text.replace(*replaced) if replaced[0] else text)
        capsys.readouterr()
        data = uff.from_tensorflow_frozen_model(known.frozen, ["NMS"], tmp_path / "config.py", strict=strict)
        said = capsys.readouterr()
        return uff_from_bytes(data), said.err, said.out

    return run


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("E_t15_v1_strides_300_c3", "its centres are not in the middle of the cells (strides or offsets"),
        (
            "E_t15_v2_baseah_160",
            "its boxes are 0.8 times as high and 1.2 times as wide as the plugin's (base_an",
        ),
    ],
)
def test_anchors_that_no_numbers_give(told: Any, name: str, words: str) -> None:
    _, warned, _ = told(name)
    assert (
        words in warned and "of the image off" in warned and "`jetlane convert` carries the model's anchors" in warned
    )
    with pytest.raises(JetlaneError, match="GridAnchor: anchors: GridAnchor_TRT cannot make the model's"):
        told(name, strict=True)


def test_maps_that_are_not_square(told: Any) -> None:
    rect = ('"GridAnchor_TRT"', '"GridAnchorRect_TRT"')
    swapped = [RECT[index ^ 1] for index in range(len(RECT))]
    _, warned, _ = told(WIDE, rect, maps=swapped)
    assert f"the script has {swapped}, the model {RECT} (height and width are swapped)" in warned
    pairs = [(height, width) for height, width in zip(RECT[::2], RECT[1::2])]
    _, warned, noted = told(WIDE, rect, maps=pairs)
    assert "featureMapShapes" not in warned and "1 times as high and 0.6 times as wide" in warned
    assert "boards below TensorRT 8.5" in noted
    with pytest.raises(JetlaneError) as refused:
        told(WIDE)
    assert f"use GridAnchorRect_TRT with {RECT}" in refused.value.what


def test_a_softmax_is_no_sigmoid(told: Any) -> None:
    _, warned, _ = told("F_t215_v2_softmax_160_c3")
    assert "confSigmoid: the script has 1, the model 0 (the model's scores are a softmax)" in warned
    assert "score_converter: the model's scores are a softmax, which NMS_TRT has not" in warned
    _, warned, _ = told("F_t215_mdetcpu_160_c3")  # a sigmoid in the network is none of the scores'
    assert warned == ""


def test_a_rounded_ratio_is_a_note_and_a_wrong_one_is_not(told: Any) -> None:
    _, warned, noted = told(GRAPH, strict=True, ratios=[1.0, 2.0, 0.5, 3.0, 0.33])
    assert warned == "" and "note: GridAnchor: aspectRatios: the script has [1, 2, 0.5, 3, 0.33]" in noted
    _, warned, _ = told(GRAPH, ratios=[1.0, 2.0, 0.5, 3.0, 0.34])
    assert "warning: GridAnchor: aspectRatios" in warned and "the model [1, 2, 0.5, 3, 0.3333]" in warned


def test_fields_that_are_missing_or_of_another_kind(told: Any) -> None:
    _, warned, _ = told(GRAPH, ("confSigmoid=1, ", "confSigmoid=1.0, "))
    assert "confSigmoid: the plugin reads an int, the script gives a float: write 1" in warned
    _, warned, _ = told(GRAPH, ("isNormalized=1", "isnormalized=1"))
    assert "isNormalized: the script gives none (the plugin has no default), the model 1" in warned
    _, warned, _ = told(GRAPH, ("dict(axis=1, ignoreBatch=0)", "dict()"))
    assert warned.count("axis: it is not given; the plugin needs axis=1, ignoreBatch=0") == 2


def test_a_quantisation_aware_graph(told: Any) -> None:
    made, warned, noted = told("C_t15_qat_v2_160_c3", strict=True)
    assert warned == "" and "note: simulated quantisation of 83 activations was taken out" in noted
    assert not [node.operation for node in made.nodes if "Quant" in node.operation]


@pytest.mark.parametrize(
    ("row", "words"), [(None, ""), (0, "anchors: up to 0.01 off"), (1, "variance: up to 0.01 off")]
)
def test_priors_as_a_constant_are_held_against_the_models(
    case: Any, tmp_path: Path, capsys: Any, row: Optional[int], words: str
) -> None:
    known = case("E_t15_v1_strides_300_c3")
    (tmp_path / "config.py").write_text(script(numbers_of(known)))
    graph = gs.DynamicGraph(known.frozen)
    preprocess(tmp_path / "config.py", graph)
    priors = graph_priors(read_ssd(load_frozen_graph(known.frozen)))
    if row is not None:
        priors[row] += 0.01
    graph.append(gs.create_node("priors", op="Const", value=priors))
    graph["NMS"].input[1] = "priors"
    graph.remove(["concat_priorbox", "GridAnchor"])
    uff.from_tensorflow(graph, ["NMS"])
    said = capsys.readouterr().err
    assert words in said if words else said == ""


def test_a_script_that_converts_by_itself_is_warned_of_nothing(case: Any, tmp_path: Path, capsys: Any) -> None:
    known = case(GRAPH)
    (tmp_path / "config.py").write_text(script(known.plugins))
    graph = gs.DynamicGraph(known.frozen)
    preprocess(tmp_path / "config.py", graph)
    capsys.readouterr()
    uff.from_tensorflow(graph.as_graph_def(), ["NMS"], strict=True)
    said = capsys.readouterr()
    assert said.err == "" and "note" not in said.out
    forget()
    uff.from_tensorflow(graph.as_graph_def(), ["NMS"], strict=True)
    said = capsys.readouterr()
    assert said.err == "" and "not held against the model: the graph that the script started from is not" in said.out


def test_the_graph_that_a_script_started_from_is_told_from_others(case: Any, tmp_path: Path, capsys: Any) -> None:
    """Graphs of one architecture have nodes of the same names; their weights differ."""
    known, other = case(GRAPH), case("trained_F_t215_v1_160_c3")
    (tmp_path / "config.py").write_text(script(known.plugins, min_size=0.05))
    graph = gs.DynamicGraph(known.frozen)
    for _ in range(5):  # copies on the way are not taken for graphs of their own
        gs.DynamicGraph(gs.DynamicGraph(other.frozen))
        copy = gs.DynamicGraph(graph)
        copy.remove(copy.find_nodes_by_op("Assert"), remove_exclusive_dependencies=True)
        gs.DynamicGraph(copy.as_graph_def())
    preprocess(tmp_path / "config.py", graph)
    with pytest.raises(JetlaneError, match=r"minSize: the script has 0\.05, the model 0\.2"):
        uff.from_tensorflow(graph, ["NMS"], strict=True)
