"""Scripts written for NVIDIA's tools, run as they are on real graphs: the UFF is the one jetlane makes by itself."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.converter.dropin.scripts import script

from jetlane.remote.agent.detect.matching import match
from jetlane.tasks.converter.dropin import uff
from jetlane.tasks.converter.dropin.command import main
from jetlane.tasks.converter.graph.protos import tensorflow_message
from jetlane.tasks.converter.lowering.lower import lower
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.converter.uff import parse_text, read_uff, uff_from_bytes
from jetlane.tasks.converter.uff.parser_faults import reordered_and_shared
from jetlane.tasks.proof.onnx_detector import OnnxDetector

TRAINED = [
    "trained_A_t13_v2_160_c3",
    "trained_C_t15_v1_160_c3",
    "trained_F_t215_v1_160_c3",
    "trained_F_t215_v2_160_c3",
]
#: Scripts for graphs of spring 2018 (one with learning phases left in it), of 2019, and with 90 classes.
OTHERS = ["G18m_t12_v2_160_c3", "G18a_t12_lite_v2_160_c3", "A_t13_lite_v2_224_c6", "F_t215_v2_300_c90"]
PLUGINS = ("_NMS_TRT", "_GridAnchor_TRT", "Concat", "Input", "MarkOutput")
#: The plugin FlattenConcat_TRT in a script's file, a Concat in ours.
HEADS = ("concat_box_loc", "concat_box_conf")
PREDICTORS = ("Reshape", "Stack")
#: A threshold at which there is something to compare.
LOW = 0.05


def _plugin_parts(model: Any) -> dict[str, Any]:
    nodes = [node for node in model.nodes if node.operation in PLUGINS and node.id not in HEADS]
    return {node.id: (node.operation, node.fields) for node in nodes}


def _detections(model: Any, params: PluginParams, folder: Path) -> list[Any]:
    from PIL import Image

    detector = OnnxDetector(lower(model, params, confidence_threshold=LOW).SerializeToString(), params.input)
    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.png"))]
    assert images
    return [detector.detect(image) for image in images]


@pytest.mark.parametrize("name", TRAINED + OTHERS)
def test_a_script_in_the_known_style_makes_the_ssd_that_we_make(case: Any, tmp_path: Path, name: str) -> None:
    known = case(name)
    path = tmp_path / "config.py"
    path.write_text(script(known.plugins))
    ours = uff_from_bytes(uff.from_tensorflow_frozen_model(known.frozen, ["NMS"], path, quiet=True))
    own = read_uff(known.converted / "model.uff")
    assert _plugin_parts(ours) == _plugin_parts(own)
    counts = [Counter(n.operation for n in model.nodes if n.operation in PREDICTORS) for model in (ours, own)]
    assert counts[0] == counts[1]
    assert {ours.node(name).operation for name in HEADS} == {"_FlattenConcat_TRT"}
    for name in ("NMS", *HEADS):
        assert ours.node(name).inputs == own.node(name).inputs


@pytest.mark.parametrize("name", ["G18m_t12_v2_160_c3", "A_t13_lite_v2_224_c6", "trained_C_t15_v1_160_c3"])
def test_every_node_looks_like_one_of_a_real_file(case: Any, tmp_path: Path, third_party: Path, name: str) -> None:
    """Batch norm in its parts or fused, as the graph has it: real SSD files hold nodes of these very kinds."""
    known = case(name)
    (tmp_path / "config.py").write_text(script(known.plugins))
    made = uff_from_bytes(uff.from_tensorflow_frozen_model(known.frozen, ["NMS"], tmp_path / "config.py", quiet=True))
    real = {kind for path in (third_party / "uff").glob("*.pbtxt") for kind in _kinds(parse_text(path.read_text()))}
    assert len(real) > 10 and _kinds(made) <= real


def _kinds(model: Any) -> set[Any]:
    """Operations with their fields and the kinds of these."""
    return {
        (node.operation, tuple(sorted((key, data.WhichOneof("data_oneof")) for key, data in node.fields.items())))
        for node in model.message.graphs[0].nodes
    }


@pytest.mark.parametrize("name", TRAINED + OTHERS)
def test_our_own_conversion_has_nothing_that_parsers_are_known_to_fail_at(case: Any, name: str) -> None:
    own = read_uff(case(name).converted / "model.uff")
    by_id = {node.id: node for node in own.nodes}
    custom = [node for node in own.nodes if node.operation.startswith("_")]
    assert {node.operation for node in custom} == {"_NMS_TRT", "_GridAnchor_TRT"}
    assert all(node.inputs for node in custom) and len(own.node("NMS").inputs) == 3
    assert not any(by_id[source].operation == "Squeeze" for source in own.node("NMS").inputs)
    for stack in (node for node in own.nodes if node.operation == "Stack"):
        sizes = [by_id[source].fields.get("values") for source in stack.inputs]
        assert sum(size is None or size.item() == -1 for size in sizes) == 1
    assert own.node("MarkOutput_0").inputs == ("NMS",) and "MarkOutput_1" not in by_id


def test_squeeze_and_excite_is_written_in_a_form_that_parsers_read(case: Any, tmp_path: Path, capsys: Any) -> None:
    known = case("E_t15_v3small_160_c3")
    (tmp_path / "config.py").write_text(script(known.plugins))
    made = uff_from_bytes(uff.from_tensorflow_frozen_model(known.frozen, ["NMS"], tmp_path / "config.py"))
    assert "unproven" not in capsys.readouterr().out
    assert "Reduce" not in {node.operation for node in made.nodes} and not reordered_and_shared(made.nodes)


def test_an_operation_that_no_parser_is_known_to_read_is_noted(capsys: Any) -> None:
    graph = tensorflow_message("GraphDef")()
    graph.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph.node.add(name="y", op="Rare", input=["x"])
    uff.from_tensorflow(graph, ["y"])
    assert "unproven in UFF: _Rare: no parser is known to read it" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "normalize"), [*((name, "host") for name in TRAINED), (TRAINED[-1], "engine")])
def test_our_config_py_through_the_command_finds_the_same(
    case: Any, tmp_path: Path, shared_data: Path, name: str, normalize: str
) -> None:
    known = case(name, normalize)
    out = tmp_path / "model.uff"
    flags = ["-o", str(out), "-O", "NMS", "-t", "-q", "-p", str(known.converted / "config.py")]
    with pytest.raises(SystemExit) as ended:
        main([str(known.frozen), *flags])
    assert ended.value.code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pbtxt", "model.uff"]
    params = PluginParams.from_json(known.plugins)
    images = shared_data / "graphs" / "images"
    found = _detections(read_uff(out), params, images)
    expected = _detections(read_uff(known.converted / "model.uff"), params, images)
    assert sum(len(detections.scores) for detections in expected) >= 10
    for left, right in zip(expected, found):
        assert match(left, right, min_iou=0.9999, max_score_difference=1e-4, threshold=LOW).agreed


def test_golden_pair_is_equal_as_a_message(third_party: Path, tmp_path: Path) -> None:
    golden = read_uff(third_party / "uff" / "swc17_ppo_model.uff")
    frozen = third_party / "uff" / "swc17_ppo_model.pb"
    written = tmp_path / "copy.uff"
    from jetlane.tasks.converter.dropin.graphsurgeon import StaticGraph

    graph = StaticGraph(frozen).as_graph_def()
    data, inputs, outputs = uff.from_tensorflow(
        graph, ["policy/output"], output_filename=written, quiet=True, return_graph_info=True
    )
    assert uff_from_bytes(data).message == golden.message == read_uff(written).message
    assert [node.name for node in outputs] == ["policy/output"] and all(node.op == "Placeholder" for node in inputs)


def test_the_stand_ins_are_gone_afterwards(case: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real installation is found by everybody else; what the script loaded is not left with the stand-ins."""
    import types

    real = types.ModuleType("tensorflow")
    monkeypatch.setitem(sys.modules, "tensorflow", real)
    monkeypatch.delitem(sys.modules, "graphsurgeon", raising=False)
    known = case(TRAINED[0])
    (tmp_path / "numbers_of_mine.py").write_text("import tensorflow as tf\nSIZE = 160\nKIND = tf.float32\n")
    body = script(known.plugins).replace("\nInput =", "\nimport numbers_of_mine\nassert tf.float32 == 1\nInput =", 1)
    (tmp_path / "config.py").write_text(body)
    before = (set(sys.modules), list(sys.path))
    uff.from_tensorflow_frozen_model(known.frozen, "NMS", tmp_path / "config.py", quiet=True)
    assert sys.modules["tensorflow"] is real
    assert not {"graphsurgeon", "uff", "tensorrt", "numbers_of_mine"} & (set(sys.modules) - before[0])
    assert sys.path == before[1]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".py") == [
        "config.py",
        "numbers_of_mine.py",
    ]
