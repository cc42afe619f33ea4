"""What the documented functions of graphsurgeon do, on graphs small enough to see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.dropin import graphsurgeon as gs
from jetlane.tasks.converter.dropin import tensorflow as tf
from jetlane.tasks.converter.dropin.rewrites import fold_dilated_convolutions, fold_softmax
from jetlane.tasks.converter.graph.load import graph_from_message, load_frozen_graph


def graph_of(**nodes: Any) -> Any:
    """``name="Op: input input"``; ``__`` in a name stands for ``/``."""
    graph = gs.DynamicGraph()
    for name, text in nodes.items():
        op, _, inputs = text.partition(":")
        graph.append(gs.create_node(name.replace("__", "/"), op=op, inputs=inputs.split()))
    return graph


def shown(graph: Any) -> dict[str, list[str]]:
    return {node.name: list(node.input) for node in graph}


def names(nodes: Any) -> list[str]:
    return [node.name for node in nodes]


@pytest.fixture
def graph() -> Any:
    return graph_of(
        image="Placeholder:",
        pre__scale="Const:",
        pre__mul="Mul: image:0 pre/scale",
        pre__id="Identity: pre/mul",
        net__w="Const:",
        net__conv="Conv2D: pre/id net/w",
        net__relu="Relu: net/conv",
        post__shape="Const:",
        post__out="Reshape: net/relu:0 post/shape ^pre/id",
        boxes="Identity: post/out",
        scores="Identity: post/out",
    )


def test_nodes_are_found_by_name_operation_and_path(graph: Any) -> None:
    assert len(graph) == 11 and graph["net/conv"].op == "Conv2D" and graph[0].name == "image"
    assert names(graph.find_nodes_by_op("Const")) == ["pre/scale", "net/w", "post/shape"]
    assert names(graph.find_nodes_by_op({"Relu", "Conv2D"})) == ["net/conv", "net/relu"]
    assert names(graph.find_nodes_by_path("net/conv")) == ["net/conv"] and not graph.find_nodes_by_path("conv")
    assert names(graph.find_nodes_by_path(["boxes", "net/.*"])) == ["net/w", "net/conv", "net/relu", "boxes"]
    assert names(graph.find_nodes_by_name("conv")) == ["net/conv"]
    assert names(graph.find_node_inputs(graph["net/conv"])) == ["pre/id", "net/w"]
    assert names(graph.find_node_inputs_by_op(graph["net/conv"], "Const")) == ["net/w"]
    assert names(graph.find_node_inputs_by_name(graph["net/conv"], ["i.*"])) == ["pre/id"]
    assert [names(chain) for chain in graph.find_node_chains_by_op(["Conv2D", "Relu", "Reshape", "Identity"])] == [
        ["net/conv", "net/relu", "post/out", "boxes"],
        ["net/conv", "net/relu", "post/out", "scores"],
    ]
    assert names(graph.graph_inputs) == ["image"] and names(graph.graph_outputs) == ["boxes", "scores"]
    assert names(graph.node_outputs["pre/id"]) == ["net/conv", "post/out"]


def test_a_name_of_its_own_comes_before_a_last_part() -> None:
    graph = graph_of(head__concat="ConcatV2:", concat="ConcatV2:")
    assert names(graph.find_nodes_by_name("concat")) == ["concat", "head/concat"]


def test_remove_takes_the_references_along(graph: Any) -> None:
    graph.remove(graph.find_nodes_by_op("Identity"))
    assert shown(graph)["net/conv"] == ["net/w"] and shown(graph)["post/out"] == ["net/relu:0", "post/shape"]
    graph.remove("post/out", remove_exclusive_dependencies=True)
    assert sorted(shown(graph)) == ["image", "pre/mul", "pre/scale"]
    graph.remove(["not there", graph["pre/mul"]])
    assert sorted(shown(graph)) == ["image", "pre/scale"]


def test_exclusive_dependencies_spare_what_others_read(graph: Any) -> None:
    graph.remove([graph["boxes"]], remove_exclusive_dependencies=True)
    assert "boxes" not in shown(graph) and len(graph) == 10


def test_forward_inputs_puts_inputs_in_the_same_place(graph: Any) -> None:
    graph.forward_inputs(graph.find_nodes_by_op(["Identity", "Mul"]))
    assert shown(graph)["net/conv"] == ["image:0", "pre/scale", "net/w"]
    assert shown(graph)["post/out"] == ["net/relu:0", "post/shape", "^image", "^pre/scale"]
    assert len(graph) == 7


def test_forwarding_a_circle_ends() -> None:
    graph = graph_of(a="Identity: b", b="Identity: a", c="Relu: a")
    graph.forward_inputs(["a", "b"])
    assert shown(graph) == {"c": []}


def test_collapse_namespaces(graph: Any) -> None:
    post = gs.create_plugin_node("NMS", op="NMS_TRT", topK=5)
    new = gs.create_node("Input", op="Placeholder", dtype=tf.float32, shape=[1, 3, 8, 8])
    graph.collapse_namespaces({"pre": new, "image": new, "post": post, "absent": gs.create_node("Never")})
    assert shown(graph) == {
        "net/w": [],
        "net/conv": ["Input", "net/w"],
        "net/relu": ["net/conv"],
        "boxes": ["NMS"],
        "scores": ["NMS"],
        "Input": ["image:0"],  # scripts of old take this out themselves
        "NMS": ["net/relu:0"],
    }
    graph["NMS"].input.remove("net/relu:0")
    assert not post.input and graph["NMS"].attr["topK_u_int"].i == 5


def test_collapse_keeps_what_is_excluded_and_counts_inputs() -> None:
    def graph() -> Any:
        return graph_of(x="Placeholder:", n__a="Relu: x", n__b="Relu: x", n__in__c="Add: n/a n/b", y="Relu: n/in/c")

    one = graph()
    one.collapse_namespaces({"n": gs.create_node("N", inputs=["Dummy"])}, exclude_nodes=[one["n/a"]])
    assert shown(one) == {"x": [], "n/a": ["x"], "y": ["N"], "N": ["Dummy", "x", "n/a"]}
    two = graph()
    two.collapse_namespaces({"n": gs.create_node("N"), "n/in": gs.create_node("C")}, unique_inputs=False)
    assert shown(two) == {"x": [], "y": ["C"], "N": ["x", "x"], "C": ["N", "N"]}


def test_nodes_hold_what_they_are_given() -> None:
    node = gs.create_plugin_node(
        "anchors", op="GridAnchor_TRT", dtype=tf.float32, inputs=["a", gs.create_node("b")],
        count=np.int64(6), size=np.float32(0.5), ratios=[1, 0.5], shapes=(3, 2), kind="x", flag=True,
    )  # fmt: skip
    assert list(node.input) == ["a", "b"] and node.attr["dtype"].type == 1
    assert (node.attr["count_u_int"].i, node.attr["size_u_float"].f, node.attr["flag_u_int"].i) == (6, 0.5, 1)
    assert list(node.attr["ratios_u_flist"].list.f) == [1, 0.5] and list(node.attr["shapes_u_ilist"].list.i) == [3, 2]
    assert node.attr["kind_u_str"].s == b"x"
    gs.update_node(node, op="Other", axis=2, inputs="c")
    assert (node.op, node.attr["axis"].i, list(node.input)) == ("Other", 2, ["c"])
    constant = gs.create_node("c", op="Const", dtype=tf.float32, value=np.array([[1, 2]], np.int64))
    graph = gs.DynamicGraph()
    graph.extend([constant, gs.create_node("shaped", op="Placeholder", shape=(None, 3))])
    read = graph_from_message(graph.as_graph_def())
    np.testing.assert_array_equal(read["c"].value, np.array([[1, 2]], np.float32))
    assert read["c"].value.dtype == np.float32 and tuple(read["shaped"].attr("shape")) == (-1, 3)


def test_a_graph_holds_copies_and_is_written_as_it_is(tmp_path: Path, graph: Any) -> None:
    node = gs.create_node("extra", op="Relu", inputs=["image"])
    graph.append(node)
    node.op = "Tanh"
    other = gs.DynamicGraph(graph)
    other["extra"].op = "Elu"
    assert graph["extra"].op == "Relu"
    graph.write(tmp_path / "graph.pb")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.pb"]
    assert shown(gs.StaticGraph(str(tmp_path / "graph.pb"))) == shown(graph)
    assert len(load_frozen_graph(tmp_path / "graph.pb")) == len(graph)


def test_what_is_no_graph_is_refused() -> None:
    with pytest.raises(GraphError, match="a list is no TensorFlow graph"):
        gs.StaticGraph([1])
    with pytest.raises(GraphError, match="is no data type"):
        gs.create_node("x", dtype="float33")


def test_data_types_are_tensorflows() -> None:
    assert tf.float32 == 1 and tf.float32 == tf.as_dtype(np.float32) and tf.half == tf.float16 != tf.float32
    assert tf.int32.as_numpy_dtype is np.int32 and int(tf.int64) == 9 and repr(tf.uint8) == "tf.uint8"
    proto = tf.make_tensor_proto([1.0, 2.0], shape=[2, 1])
    assert proto.dtype == 1 and [dim.size for dim in proto.tensor_shape.dim] == [2, 1]
    assert tf.AttrValue(tensor=proto).tensor == proto


def dilated(pads: list[list[int]], crops: list[list[int]]) -> Any:
    """A 3x3 convolution with the dilation (2, 2), as TensorFlow 1 writes it."""
    graph = graph_of(
        x="Placeholder:", spread="SpaceToBatchND: x block pads", conv="Conv2D: spread read", read="Identity: w",
        out="BatchToSpaceND: conv block crops", relu="Relu: out",
    )  # fmt: skip
    for name, value in (("block", [2, 2]), ("pads", pads), ("crops", crops)):
        graph.append(gs.create_node(name, op="Const", dtype=tf.int32, value=np.array(value, np.int32)))
    graph.append(gs.create_node("w", op="Const", dtype=tf.float32, value=np.zeros((3, 3, 1, 1), np.float32)))
    graph["conv"].attr["padding"].s = b"VALID"
    return graph


@pytest.mark.parametrize(
    ("pads", "crops", "padding"),
    [
        ([[2, 3], [2, 2]], [[0, 1], [0, 0]], b"SAME"),  # one pixel more, to fill the block, and cropped again
        ([[0, 1], [0, 0]], [[0, 1], [0, 0]], b"VALID"),
    ],
)
def test_a_dilated_convolution_is_folded(pads: list[list[int]], crops: list[list[int]], padding: bytes) -> None:
    graph = dilated(pads, crops)
    assert fold_dilated_convolutions(graph) == 1
    assert list(graph["conv"].attr["dilations"].list.i) == [1, 2, 2, 1] and graph["conv"].attr["padding"].s == padding
    assert shown(graph)["conv"] == ["x", "read"] and shown(graph)["relu"] == ["conv"]


def test_a_padding_that_no_convolution_has_is_left_alone() -> None:
    graph = dilated([[4, 0], [2, 2]], [[0, 0], [0, 0]])
    assert fold_dilated_convolutions(graph) == 0
    assert shown(graph)["conv"] == ["spread", "read"]


def test_a_softmax_with_its_reshapes_is_folded() -> None:
    graph = graph_of(
        x="Placeholder:", rank="Sub: r one", r="Const:", one="Const:", pack="Pack: rank", cut="Slice: s pack one",
        s="Shape: x", axis="Const:", shape="ConcatV2: one cut axis", flat="Reshape: x shape", soft="Softmax: flat",
        back="Reshape: soft s", out="Identity: back",
    )  # fmt: skip
    assert fold_softmax(graph) == 1
    assert shown(graph)["soft"] == ["x"] and shown(graph)["out"] == ["soft"] and "back" not in shown(graph)
