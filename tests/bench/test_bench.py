"""The parts of bench/ that a wrong figure could come from: the cut graph, the comparison, the workers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

CASE = "trained_F_t215_v2_160_c3"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))


def test_the_cut_graph_needs_nothing_of_the_image(shared_data):
    from bench.cut import OUTPUTS, cut

    from jetlane.tasks.converter.graph.graph import node_of
    from jetlane.tasks.converter.graph.protos import tensorflow_message

    graph = tensorflow_message("GraphDef").FromString(cut(shared_data / "graphs" / CASE / "frozen_inference_graph.pb"))
    names = {node.name for node in graph.node}
    assert [node.name for node in graph.node if node.op == "Placeholder"] == ["Input"]
    assert set(OUTPUTS) <= names
    assert {node_of(ref) for node in graph.node for ref in node.input} <= names
    assert not any("Resize" in node.op or "Decode" in node.op for node in graph.node)


def found(boxes, labels, scores):
    return [{"boxes": boxes, "labels": labels, "scores": scores}]


def test_agreement_knows_other_labels_boxes_and_scores():
    from bench.agreement import compare

    one, two = [0.1, 0.1, 0.5, 0.5], [0.4, 0.4, 0.9, 0.9]
    wanted = found([one, two], [1, 2], [0.9, 0.9])
    same = compare(found([two, one], [2, 1], [0.9, 0.9001]), wanted, 0, 100)
    assert (same["wanted"], same["matched"], same["others"]) == (2, 2, 0)
    assert same["scores"] == pytest.approx(1e-4)
    for boxes, labels, scores in (
        ([one, two], [1, 1], [0.9, 0.9]),
        ([one, one], [1, 2], [0.9, 0.9]),
        ([one, two], [1, 2], [0.9, 0.8]),
    ):
        other = compare(found(boxes, labels, scores), wanted, 0, 100)
        assert (other["matched"], other["others"]) == (1, 1)
    assert compare(found([one], [1], [0.9]), wanted, 0, 100)["matched"] == 1
    # A full list was cut off: what is below its end is not missing. Empty boxes are no detections.
    assert compare(found([one], [1], [0.9]), wanted, 0, 100)["missing"] == 1
    assert compare(found([one], [1], [0.9]), wanted, 0, 1)["missing"] == 0
    flat = compare(found([one, two, [1, 0, 1, 0.2]], [1, 2, 1], [0.9, 0.9, 0.8]), wanted, 0, 100)
    assert (flat["matched"], flat["others"], flat["empty"]) == (2, 0, 1)
    assert compare(found([], [], []), wanted, 0.95, 100)["wanted"] == 0


@pytest.mark.tensorflow
def test_workers_find_the_same(shared_data, tmp_path, monkeypatch):
    if importlib.util.find_spec("tensorflow") is None:
        pytest.skip("TensorFlow is not installed")
    from bench.agreement import compare
    from bench.cut import cut
    from bench.inference import Side, Worker, inputs_of
    from bench.models import model_at

    from jetlane.tasks.converter.convert import convert_model

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = model_at(shared_data / "graphs" / CASE)
    convert_model(model.graph, model.config, tmp_path)
    frozen, inputs = tmp_path / "cut.pb", tmp_path / "inputs.npy"
    frozen.write_bytes(cut(model.graph))
    np.save(inputs, inputs_of(model))
    results = []
    for kind, path in (("jetlane", tmp_path / "model.eval.onnx"), ("tensorflow", frozen)):
        worker = Worker(Side(kind, kind, Path(sys.executable), path), inputs)
        try:
            results.append(worker.ask("detections"))
            assert worker.ask(2)["cpu"] > 0
            assert worker.ask("memory")["resident"] > 10e6
        finally:
            worker.close()
    agreement = compare(*results, 0, 100)
    assert agreement["wanted"] == agreement["matched"] == 4 * 100
    assert agreement["missing"] == agreement["others"] == agreement["empty"] == 0
    assert agreement["corners"] < 1e-4
