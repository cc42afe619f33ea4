"""A number of a right script that is changed is told, with the right value; of the right script, nothing is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.tasks.converter.dropin.scripts import script

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin import uff
from jetlane.tasks.converter.dropin.checks import check
from jetlane.tasks.converter.dropin.rewrites import settle_reshapes
from jetlane.tasks.converter.dropin.script import preprocess
from jetlane.tasks.converter.graph.load import graph_from_message, load_frozen_graph
from jetlane.tasks.converter.graph.ssd import SsdGraph, read_ssd

GRAPH = "trained_F_t215_v2_160_c3"
#: One of 2018, one of a TensorFlow 1.15, one with variances that are all different, and one of 90 classes.
GRAPHS = ["G18m_t12_v2_160_c3", "trained_C_t15_v1_160_c3", "C_t15_v2_box_c6", "F_t215_v2_300_c90"]
ANCHORS, NMS, BOXES, SCORES, PRIORS = "GridAnchor", "NMS", "concat_box_loc", "concat_box_conf", "concat_priorbox"
#: Choices, which are notes.
TASTE = {"confidenceThreshold", "topK", "keepTopK"}
WORDS = ("warning", "note")
#: Told by a refusal where NMS_TRT would assert.
REFUSED = {"featureMapShapes", "numClasses", "inputOrder", "shape"}


@dataclass(frozen=True)
class Change:
    """One field of a node, its new value (None: not given), and the right one as it has to be told."""

    node: str
    field: str
    value: Any
    right: str


def shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:.6g}"


def changes(plugins: dict[str, Any]) -> st.SearchStrategy[Change]:
    """Any one number of the script that has these, changed."""
    grid, nms = plugins["grid_anchor"], plugins["nms"]
    ratios, variance = list(grid["aspect_ratios"]), list(plugins["variances"])
    maps, layers = [height for height, _ in grid["feature_map_shapes"]], grid["num_layers"]
    factor = st.one_of(st.floats(0.5, 0.998), st.floats(1.002, 1.9))

    def scaled(node: str, name: str, right: float) -> st.SearchStrategy[Change]:
        return factor.map(lambda times: Change(node, name, right * times, shown(right)))

    def one_scaled(name: str, rights: list[float]) -> st.SearchStrategy[Change]:
        made = st.tuples(st.integers(0, len(rights) - 1), factor)
        return made.map(lambda pick: Change(ANCHORS, name, _times(rights, *pick), shown(rights)))

    def other(node: str, name: str, right: Any, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Change]:
        return values.filter(lambda value: value != right).map(lambda value: Change(node, name, value, shown(right)))

    required = {
        **dict.fromkeys(("shareLocation", "isNormalized", "confSigmoid"), 1),
        **dict.fromkeys(("varianceEncodedInTarget", "backgroundLabelId"), 0),
    }
    given = {**required, "nmsThreshold": nms["nms_threshold"], "topK": nms["top_k"], "keepTopK": nms["keep_top_k"]}
    flips = [other(NMS, name, right, st.integers(0, 1)) for name, right in required.items()]
    kinds = [(NMS, "nmsThreshold", nms["nms_threshold"]), (ANCHORS, "maxSize", grid["max_size"])]
    image = [1, 3, plugins["input"]["height"], plugins["input"]["width"]]
    return st.one_of(
        scaled(ANCHORS, "minSize", grid["min_size"]),
        scaled(ANCHORS, "maxSize", grid["max_size"]),
        one_scaled("aspectRatios", ratios),
        other(ANCHORS, "aspectRatios", ratios, st.permutations(ratios)),
        one_scaled("variance", variance),
        other(ANCHORS, "numLayers", layers, st.integers(layers - 2, layers + 2)),
        st.tuples(st.integers(0, layers - 1), st.sampled_from([1, 2])).map(
            lambda pick: Change(ANCHORS, "featureMapShapes", _put(maps, pick[0], maps[pick[0]] + pick[1]), shown(maps))
        ),
        scaled(NMS, "nmsThreshold", nms["nms_threshold"]),
        st.floats(0.001, 0.99)
        .filter(lambda value: abs(value - 0.3) > 0.001)
        .map(lambda value: Change(NMS, "confidenceThreshold", value, "1e-08")),
        other(NMS, "topK", nms["top_k"], st.integers(nms["keep_top_k"], nms["top_k"] + 200)),
        other(NMS, "keepTopK", nms["keep_top_k"], st.integers(1, nms["top_k"] + 50)),
        other(NMS, "numClasses", nms["num_classes"], st.integers(1, nms["num_classes"] + 3)),
        other(NMS, "inputOrder", [0, 2, 1], st.permutations([0, 1, 2])),
        other(NMS, "codeType", 3, st.integers(0, 2)),
        other(NMS, "backgroundLabelId", 0, st.sampled_from([-1, 1])),
        *flips,
        st.sampled_from([(BOXES, "axis", 1), (SCORES, "axis", 1), (PRIORS, "axis", 2)]).flatmap(
            lambda found: other(*found, st.integers(1, 3))
        ),
        st.sampled_from([BOXES, SCORES]).map(lambda node: Change(node, "ignoreBatch", 1, "0")),
        st.sampled_from([(node, name) for node in (BOXES, SCORES) for name in ("axis", "ignoreBatch")]).map(
            lambda found: Change(*found, None, f"{found[1]}={int(found[1] == 'axis')}")
        ),
        st.sampled_from(sorted(given)).map(lambda name: Change(NMS, name, None, shown(given[name]))),
        st.sampled_from(kinds).map(lambda found: Change(found[0], found[1], math.ceil(found[2]), shown(found[2]))),
        st.sampled_from([[1, image[2] // 2, image[3], 3], [1, 1, *image[2:]]]).map(
            lambda shape: Change("Input", "shape", shape, shown(image))
        ),
    )


def _put(values: list[Any], index: int, value: Any) -> list[Any]:
    return [*values[:index], value, *values[index + 1 :]]


def _times(values: list[float], index: int, factor: float) -> list[float]:
    return _put(values, index, values[index] * factor)


@dataclass(frozen=True)
class Right:
    """A model's numbers, its graph after a right script's surgery, and what the graph before it is."""

    plugins: dict[str, Any]
    data: bytes
    operations: dict[str, str]
    ssd: SsdGraph

    def changed(self, change: Change | None) -> gs.DynamicGraph:
        """The graph as the script would have left it with one number changed."""
        graph = gs.DynamicGraph()
        graph._internal_graphdef.ParseFromString(self.data)
        if change is not None:
            node = graph[change.node]
            for key in [key for key in node.attr if key.partition("_u_")[0] == change.field]:
                del node.attr[key]
            if change.value is not None:
                gs.update_node(node, trt_plugin=change.node not in (PRIORS, "Input"), **{change.field: change.value})
        return graph

    def told(self, change: Change) -> list[str]:
        """What is found of a change, before anything is written."""
        graph = self.changed(change)
        settle_reshapes(graph)
        findings = check(graph_from_message(graph.as_graph_def()), ["NMS"], self.operations, self.ssd)
        assert not findings.warnings
        return [f"{'note' if item.taste else 'warning'}: {item}" for item in findings.differences]

    def said(self, change: Change | None, capsys: Any, strict: bool = False) -> list[str]:
        """What a person reads of a change that is converted."""
        capsys.readouterr()
        uff.from_tensorflow(self.changed(change), ["NMS"], strict=strict)
        said = capsys.readouterr()
        return [line for line in (*said.err.splitlines(), *said.out.splitlines()) if line.partition(": ")[0] in WORDS]


@pytest.fixture(scope="session")
def right(case: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Right]:
    def get(name: str) -> Right:
        known = case(name)
        graph = gs.DynamicGraph(known.frozen)  # so that it is among those remembered
        operations = {node.name: node.op for node in graph}
        if name not in made:
            path = tmp_path_factory.mktemp("script") / "config.py"
            text = script(known.plugins).replace("[0.1, 0.1, 0.2, 0.2]", str(list(known.plugins["variances"])))
            path.write_text(text)
            ssd = read_ssd(load_frozen_graph(known.frozen))
            preprocess(path, graph)
            made[name] = Right(known.plugins, graph.as_graph_def().SerializeToString(), operations, ssd)
        return made[name]

    made: dict[str, Right] = {}
    return get


def hold(change: Change, told: Callable[[Change], list[str]]) -> list[str]:
    """The change is told with the right value, and nothing but it; returns how."""
    try:
        lines = told(change)
    except ConversionError as error:
        assert change.field in REFUSED, str(error)
        assert change.field in error.what and change.right in error.what, error.what
        return []
    own = [line for line in lines if f"{change.node}: {change.field}: " in line]
    assert any(change.right in line.partition(f"{change.field}: ")[2] for line in own), (change, lines)
    others = [line for line in lines if line not in own and "NMS: keepTopK: " not in line]
    assert not others, (change, others)
    assert change.field in TASTE or all(line.startswith("warning") for line in own), (change, own)
    return lines


QUICK = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@pytest.mark.parametrize("name", [GRAPH, GRAPHS[2]])
def test_a_right_script_is_told_nothing(right: Any, capsys: Any, name: str) -> None:
    assert right(name).said(None, capsys, strict=True) == []


def test_a_changed_number_is_told_with_the_right_one(right: Any) -> None:
    model = right(GRAPH)

    @QUICK
    @given(changes(model.plugins))
    @example(Change(ANCHORS, "minSize", 0.05, "0.2"))
    @example(Change(ANCHORS, "aspectRatios", [1.0, 2.0, 3.0, 0.5, 0.3333], "[1, 2, 0.5, 3, 0.3333]"))
    @example(Change(NMS, "inputOrder", [2, 0, 1], "[0, 2, 1]"))  # four classes: NMS_TRT would not assert
    def held(change: Change) -> None:
        hold(change, model.told)

    held()


@pytest.mark.slow
@pytest.mark.parametrize("name", [GRAPH, *GRAPHS])
def test_a_changed_number_is_told_by_the_conversion_of_any_model(right: Any, capsys: Any, name: str) -> None:
    model = right(name)

    @settings(QUICK, max_examples=25)
    @given(changes(model.plugins))
    def held(change: Change) -> None:
        lines = hold(change, lambda one: model.said(one, capsys))
        if any(line.startswith("warning") for line in lines):
            with pytest.raises(ConversionError, match="are not the model's"):
                model.said(change, capsys, strict=True)
        elif lines:
            assert model.said(change, capsys, strict=True) == lines

    assert model.said(None, capsys, strict=True) == []
    held()
