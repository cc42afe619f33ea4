"""What scripts reach for beside the documented methods: the message itself, and TensorBoard's files."""

from __future__ import annotations

from pathlib import Path

from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin.stand_ins import in_place
from jetlane.tasks.converter.graph.protos import tensorflow_message
from jetlane.tasks.data.records import read_records


def test_the_message_is_the_graph() -> None:
    graph = gs.DynamicGraph()
    graph.extend([gs.create_node("a", op="Relu"), gs.create_node("b", op="Relu", inputs="a")])
    for node in graph._internal_graphdef.node:
        if node.name == "b":
            node.input.append("c")
    held = graph["b"]
    graph._internal_graphdef.node.extend([gs.create_node("c", op="Tanh")])
    graph.node_map = {node.name: node for node in graph._internal_graphdef.node}
    graph._internal_graphdef.node.remove(graph["a"])
    held.op = "Elu"
    assert {node.name: node.op for node in graph.as_graph_def().node} == {"b": "Elu", "c": "Tanh"}
    assert list(graph["b"].input) == ["a", "c"] and [node.name for node in graph.graph_outputs] == ["b"]
    graph.remove("a")
    graph.collapse_namespaces({"c": gs.create_node("d", op="Tanh")})
    assert [node.name for node in graph._internal_graphdef.node] == ["b", "d"] and list(held.input) == ["d"]


def test_tensorboard_is_written_an_event_file(tmp_path: Path) -> None:
    graph = gs.DynamicGraph()
    graph.append(gs.create_node("x" * 300, op="Relu"))
    graph.write_tensorboard(tmp_path / "logs" / "one")
    (path,) = (tmp_path / "logs" / "one").iterdir()
    assert path.name.startswith("events.out.tfevents.")
    version, event = read_records(path)
    assert version.endswith(b"brain.Event:2")
    data = graph.as_graph_def().SerializeToString()
    assert event[9:10] == b"\x22" and event.endswith(data)
    assert tensorflow_message("GraphDef").FromString(event[-len(data) :]) == graph.as_graph_def()


def test_a_graph_is_read_as_scripts_read_it(tmp_path: Path) -> None:
    made = gs.DynamicGraph()
    made.extend([gs.create_node("a", op="Relu"), gs.create_node("b", op="Relu", inputs=["a", "^a"])])
    made.write(tmp_path / "graph.pb")
    with in_place():
        import tensorflow as tf
        from tensorflow.core.framework import graph_pb2
        from tensorflow.python.platform import gfile

        with (
            tf.gfile.GFile(str(tmp_path / "graph.pb"), "rb") as one,
            gfile.FastGFile(tmp_path / "graph.pb", "rb") as two,
        ):
            definition, again = tf.GraphDef(), graph_pb2.GraphDef()
            definition.ParseFromString(one.read())
            again.ParseFromString(two.read())
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition, name="")
            tf.import_graph_def(again)
        tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    read = gs.DynamicGraph(graph.as_graph_def())
    assert [(node.name, list(node.input)) for node in read] == [
        ("a", []),
        ("b", ["a", "^a"]),
        ("import/a", []),
        ("import/b", ["import/a", "^import/a"]),
    ]
