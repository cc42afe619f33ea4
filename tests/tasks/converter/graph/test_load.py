"""Any file that is named as a frozen graph is read, or the error says what it is."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetlane.specs.errors import GraphError, JetlaneError
from jetlane.tasks.converter.graph.load import holds_frozen_graph, load_frozen_graph
from jetlane.tasks.converter.graph.protos import tensorflow_message
from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.graph.tensors import to_numpy


def _message():
    graph = tensorflow_message("GraphDef")()
    node = graph.node.add(name="weights", op="Const")
    node.attr["dtype"].type = 1
    node.attr["value"].tensor.dtype = 1
    node.attr["value"].tensor.tensor_shape.dim.add(size=2)
    node.attr["value"].tensor.tensor_content = np.array([1.5, -2], "<f4").tobytes()
    graph.node.add(name="out", op="Identity", input=["weights", "^weights"])
    return graph


def test_reads_nodes_and_attributes(tmp_path):
    path = tmp_path / "graph.pb"
    path.write_bytes(_message().SerializeToString())
    graph = load_frozen_graph(path)
    assert [node.name for node in graph] == ["weights", "out"]
    assert graph["out"].inputs == ["weights", "^weights"]
    np.testing.assert_array_equal(graph["weights:0"].value, np.array([1.5, -2], np.float32))
    assert [node.name for node in graph.consumers("weights")] == ["out", "out"]


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
        (b"\n<!DOCTYPE html><html>sign in</html>", "web page"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x1f\x8brest", "gzip archive"),
        (b"\x1c\x00\x00\x00TFL3rest", "TensorFlow Lite"),
        (b"\x08\x01\x12\x10abcdefgh", "SavedModel"),
        (b'node {\n  name: "a"\n}\n', "text form"),
        (_message().SerializeToString()[:-7], "cut short"),
        (b"\x22\x02\x08\x1a", "not a single node"),
        (b"x" * 200, "holds no graph"),
        (b"\x0a\xff\xff" + b"y" * 50, "cannot be read"),
    ],
)
def test_other_files_are_named(tmp_path, content, words):
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=words) as raised:
        load_frozen_graph(path)
    assert "model.pb" in raised.value.what and raised.value.remedy


def test_missing_folder_checkpoint_and_variables(tmp_path):
    with pytest.raises(GraphError, match="does not exist"):
        load_frozen_graph(tmp_path / "none.pb")
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    with pytest.raises(GraphError, match="SavedModel without a graph"):
        load_frozen_graph(tmp_path)
    checkpoint = tmp_path / "model.ckpt-600.index"
    checkpoint.write_bytes(b"\x00\x01")
    with pytest.raises(GraphError, match="checkpoint"):
        load_frozen_graph(checkpoint)
    message = _message()
    message.node.add(name="w", op="VariableV2")
    (tmp_path / "unfrozen.pb").write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match="not frozen"):
        load_frozen_graph(tmp_path / "unfrozen.pb")


@pytest.mark.parametrize(
    "dtype, field, stored, expected",
    [
        (1, "float_val", [3.0], np.full((2, 3), 3, np.float32)),
        (3, "int_val", [1, 2, 3, 4, 5, 6], np.arange(1, 7, dtype=np.int32).reshape(2, 3)),
        (3, "int_val", [1, 2], np.array([[1, 2, 2], [2, 2, 2]], np.int32)),
        (9, "int64_val", [1 << 40], np.full((2, 3), 1 << 40, np.int64)),
        (10, "bool_val", [True], np.ones((2, 3), bool)),
        (19, "half_val", [0x3C00], np.ones((2, 3), np.float16)),
        (14, "half_val", [0x3FC0], np.full((2, 3), 1.5, np.float32)),
        (2, "double_val", [0.1], np.full((2, 3), 0.1)),
        (4, "int_val", [200], np.full((2, 3), 200, np.uint8)),
        (1, "float_val", [], np.zeros((2, 3), np.float32)),
    ],
)
def test_every_stored_form_of_a_tensor(dtype, field, stored, expected):
    proto = tensorflow_message("GraphDef")().node.add().attr["value"].tensor
    proto.dtype = dtype
    for size in (2, 3):
        proto.tensor_shape.dim.add(size=size)
    getattr(proto, field).extend(stored)
    value = to_numpy(proto)
    assert value.dtype == expected.dtype
    np.testing.assert_array_equal(value, expected)


def test_tensor_that_does_not_fill_its_shape():
    proto = tensorflow_message("GraphDef")().node.add().attr["value"].tensor
    proto.dtype = 1
    proto.tensor_shape.dim.add(size=5)
    proto.tensor_content = b"\x00" * 24
    with pytest.raises(GraphError, match="6 values"):
        to_numpy(proto)
    proto.tensor_shape.dim.add(size=1 << 40)
    with pytest.raises(GraphError, match="claims the shape"):
        to_numpy(proto)


def test_no_tensorflow_is_loaded():
    """Reading a graph needs numpy and protobuf alone, and clashes with no installed TensorFlow."""
    code = (
        "import sys, jetlane.tasks.converter.uff.from_graph, jetlane.tasks.converter.graph.load as load;"
        "load.tensorflow_message('GraphDef')(); print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_files_end_in_an_error_for_the_person(tmp_path_factory, shared_data, data):
    """Bytes changed, cut or doubled anywhere: it converts or says why not; nothing else is raised."""
    original = (shared_data / "graphs" / "F_t215_v1ppn_160_c3" / "frozen_inference_graph.pb").read_bytes()
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, 20))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        kind = data.draw(st.sampled_from(["change", "cut", "insert", "end"]))
        if kind == "change":
            damaged[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del damaged[place : place + data.draw(st.integers(1, 64))]
        elif kind == "insert":
            damaged[place:place] = data.draw(st.binary(min_size=1, max_size=16))
        else:
            del damaged[max(place, 1000) :]
        if len(damaged) < 2:
            break
    path = tmp_path_factory.mktemp("damaged") / "graph.pb"
    path.write_bytes(bytes(damaged))
    try:
        from jetlane.tasks.converter.graph.network import extract_network

        graph = load_frozen_graph(path)
        extract_network(graph, read_ssd(graph))
    except JetlaneError:
        pass


def test_the_frozen_graph_in_a_saved_model_is_read(tmp_path):
    """Exports by TensorFlow 1 keep no variables in their SavedModel."""
    saved = tensorflow_message("SavedModel")()
    saved.meta_graphs.add().graph_def.CopyFrom(_message())
    path = tmp_path / "saved_model.pb"
    path.write_bytes(b"\x08\x01" + saved.SerializeToString())
    assert holds_frozen_graph(tmp_path)
    for given_path in (tmp_path, path):
        assert [node.name for node in load_frozen_graph(given_path)] == ["weights", "out"]
    renamed = path.rename(tmp_path / "model.pb")
    assert len(load_frozen_graph(renamed)) == 2
    saved.meta_graphs[0].graph_def.node.add(name="w", op="VarHandleOp")
    path.write_bytes(b"\x08\x01" + saved.SerializeToString())
    assert not holds_frozen_graph(tmp_path)
    with pytest.raises(GraphError, match="SavedModel with variables") as raised:
        load_frozen_graph(tmp_path)
    assert "freezes it" in raised.value.remedy
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(GraphError, match="cannot be read as a SavedModel"):
        load_frozen_graph(tmp_path)


def test_what_tf_trt_made_is_told_by_its_name(tmp_path):
    message = _message()
    message.node.add(name="TRTEngineOp_0", op="TRTEngineOp", input=["weights"])
    path = tmp_path / "trt.pb"
    path.write_bytes(message.SerializeToString())
    with pytest.raises(GraphError, match="TF-TRT") as raised:
        load_frozen_graph(path)
    assert "TRTEngineOp_0" in raised.value.why and "was given" in raised.value.remedy
