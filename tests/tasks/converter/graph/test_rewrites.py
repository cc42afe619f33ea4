"""Rewrites leave what a graph computes as it was: each is run before and after in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.tasks.converter.graph.sketches import Sketch
from tests.tasks.converter.uff.interpreter import run

from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import Graph, Node
from jetlane.tasks.converter.graph.rewrites.affine import fold_affine
from jetlane.tasks.converter.graph.rewrites.batch import cut_batch_to_one
from jetlane.tasks.converter.graph.rewrites.batch_norm import split_batch_norms
from jetlane.tasks.converter.graph.rewrites.class_logits import MUTED, prepare_class_logits
from jetlane.tasks.converter.graph.rewrites.conditionals import resolve_conditionals
from jetlane.tasks.converter.graph.rewrites.constants import fold_constants
from jetlane.tasks.converter.graph.rewrites.control_inputs import drop_control_inputs
from jetlane.tasks.converter.graph.rewrites.depthwise import widen_depthwise
from jetlane.tasks.converter.graph.rewrites.fake_quant import remove_fake_quant
from jetlane.tasks.converter.graph.rewrites.identities import forward_identities
from jetlane.tasks.converter.graph.rewrites.paddings import absorb_paddings, zeros_to_pads
from jetlane.tasks.converter.graph.rewrites.sums import split_sums
from jetlane.tasks.converter.graph.rewrites.upsampling import upsample_by_convolution
from jetlane.tasks.converter.uff import convert_graph


def compute(graph: Graph, x, output="y"):
    return run(convert_graph(graph, [output]), {"x": x}, [output])[0]


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.sampled_from(["Mul", "Add", "AddV2", "Sub", "BiasAdd", "RealDiv", "FusedBatchNormV3", "minus"]),
        min_size=1,
        max_size=4,
    ),
    depthwise=st.booleans(),
    scalar=st.booleans(),
    shared=st.booleans(),
)
def test_scales_and_offsets_after_a_convolution(steps, depthwise, scalar, shared):
    g, channels = Sketch(), 5
    g.input("x", (1, 6, 6, 5))
    ref = g.conv("c", "x", random(3, 3, 5, 1 if depthwise else channels, seed=1), stride=2, depthwise=depthwise)
    for index, step in enumerate(steps):
        value = np.abs(random(*(() if scalar and step != "BiasAdd" else (channels,)), seed=index)) + np.float32(0.5)
        name = "y0" if index == len(steps) - 1 else f"s{index}"
        if step == "FusedBatchNormV3":
            parts = [g.const(f"{name}/{i}", np.abs(random(channels, seed=i)) + np.float32(0.2)) for i in range(4)]
            ref = g.add(name, step, ref, *parts, epsilon=1e-3, is_training=False)
        elif step == "minus":
            g.const(f"{name}/y", value)
            ref = g.add(name, "Sub", f"{name}/y", ref)
        else:
            ref = g.with_const(name, step, ref, value)
    g.add("y", "Relu6", ref)
    if shared:  # a second convolution with the same kernel
        g.add("other", g.nodes[2].op, "x", "c/kernel", strides=[1, 2, 2, 1], padding="SAME")
        g.add("sum", "AddV2", "y", "other")
    output = "sum" if shared else "y"
    graph = g.graph()
    x = random(1, 6, 6, 5, seed=9)
    expected = compute(graph, x, output)
    split_batch_norms(graph, Evaluator(graph))
    applied = fold_affine(graph, [output])
    np.testing.assert_allclose(compute(graph, x, output), expected, rtol=1e-4, atol=1e-5)
    if not shared:
        assert applied.count >= len(steps)
        part = graph.ancestors(["y"])
        assert sorted(node.op for node in part.values() if node.op != "Const") == sorted(
            ["Placeholder", "DepthwiseConv2dNative" if depthwise else "Conv2D", "BiasAdd", "Relu6"]
        )


def test_a_tensor_read_twice_ends_the_folding(sketch):
    """Hard-swish: the batch norm's output is needed as it is."""
    sketch.input("x", (1, 4, 4, 3))
    sketch.conv("c", "x", random(1, 1, 3, 3))
    sketch.with_const("bn", "Mul", "c", np.float32(2))
    sketch.with_const("plus", "Add", "bn", np.float32(3))
    sketch.add("r", "Relu6", "plus")
    sketch.add("y", "Mul", "bn", "r")
    graph, x = sketch.graph(), random(1, 4, 4, 3, seed=2)
    expected = compute(graph, x)
    assert fold_affine(graph, ["y"]).count == 1
    np.testing.assert_allclose(compute(graph, x), expected, rtol=1e-5, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pads=st.lists(
        st.tuples(st.tuples(st.integers(0, 3), st.integers(0, 3)), st.tuples(st.integers(0, 3), st.integers(0, 3))),
        min_size=1,
        max_size=2,
    ),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.integers(1, 2),
    padding=st.sampled_from(["SAME", "VALID"]),
    depthwise=st.booleans(),
    as_zeros=st.booleans(),
)
def test_paddings_in_front_of_a_convolution(size, pads, kernel, stride, padding, depthwise, as_zeros):
    g = Sketch()
    g.input("x", (1, *size, 2))
    ref, (height, width) = "x", size
    for index, (rows, columns) in enumerate(pads):
        if as_zeros:  # rows and columns of zeros appended, as exports of 2017 do
            g.const(f"a{index}", np.zeros((1, rows[1], width, 2), np.float32))
            g.const(f"axis{index}", np.int32(1))
            ref = g.add(f"p{index}", "ConcatV2", ref, f"a{index}", f"axis{index}")
            height += rows[1]
        else:
            ref = g.with_const(f"p{index}", "Pad", ref, np.array([(0, 0), rows, columns, (0, 0)], np.int32))
            height, width = height + sum(rows), width + sum(columns)
    assume(padding == "SAME" or (height >= kernel[0] and width >= kernel[1]))
    g.conv("y", ref, random(*kernel, 2, 1 if depthwise else 3), stride=stride, padding=padding, depthwise=depthwise)
    graph, x = g.graph(), random(1, *size, 2, seed=5)
    expected = compute(graph, x)
    zeros_to_pads(graph, Evaluator(graph))
    absorb_paddings(graph, Evaluator(graph))
    uff = convert_graph(graph, ["y"])
    assert not {"Pad", "Concat"} & {node.operation for node in uff.nodes}
    np.testing.assert_allclose(run(uff, {"x": x}, ["y"])[0], expected, rtol=1e-4, atol=1e-5)


def _by_reshape(g, x, h, w, c, f):
    g.const("s1", np.array([1, h, 1, w, 1, c], np.int32))
    g.add("r1", "Reshape", x, "s1")
    g.with_const("m", "Mul", "r1", np.ones((1, 1, f, 1, f, 1), np.float32))
    g.const("s2", np.array([1, h * f, w * f, c], np.int32))
    return g.add("up", "Reshape", "m", "s2")


def _by_stack(g, x, h, w, c, f):
    g.add("ws", "Pack", *[x] * f, axis=3)
    g.const("s1", np.array([1, h, w * f, c], np.int32))
    g.add("r1", "Reshape", "ws", "s1")
    g.add("hs", "Pack", *["r1"] * f, axis=2)
    g.const("s2", np.array([1, h * f, w * f, c], np.int32))
    return g.add("up", "Reshape", "hs", "s2")


def _by_resize(g, x, h, w, c, f):
    g.const("s", np.array([h * f, w * f], np.int32))
    return g.add("up", "ResizeNearestNeighbor", x, "s", align_corners=False)


@pytest.mark.parametrize("form", [_by_reshape, _by_stack, _by_resize])
@pytest.mark.parametrize("factor", [2, 3])
def test_upsampling_in_every_form(sketch, form, factor):
    h, w, c = 3, 5, 4
    sketch.input("x", (1, h, w, c))
    sketch.add("r", "Relu6", "x")
    form(sketch, "r", h, w, c, factor)
    sketch.add("y", "Relu6", "up")
    graph, x = sketch.graph(), random(1, h, w, c)
    assert upsample_by_convolution(graph, Evaluator(graph), ["y"]).count == 1
    uff = convert_graph(graph, ["y"])
    assert [n.operation for n in uff.nodes if n.operation not in ("Const", "Activation", "Input")] == [
        "ConvTranspose",
        "MarkOutput",
    ]
    expected = np.clip(x, 0, 6).repeat(factor, 1).repeat(factor, 2)
    np.testing.assert_array_equal(run(uff, {"x": x}, ["y"])[0], expected)


def test_a_reshape_that_only_looks_like_upsampling(sketch):
    """Same shapes, other order of pixels: left alone."""
    sketch.input("x", (1, 2, 2, 3))
    sketch.add("hs", "Pack", "x", "x", axis=1)
    sketch.const("s", np.array([1, 4, 2, 3], np.int32))
    sketch.add("y", "Reshape", "hs", "s")
    graph = sketch.graph()
    assert upsample_by_convolution(graph, Evaluator(graph), ["y"]).count == 0


def test_depth_multiplier(sketch):
    sketch.input("x", (1, 6, 6, 3))
    sketch.conv("c", "x", random(7, 7, 3, 8), stride=2, depthwise=True)
    sketch.add("y", "Relu6", "c")
    graph, x = sketch.graph(), random(1, 6, 6, 3, seed=1)
    kernel = graph["c/kernel"].value
    assert widen_depthwise(graph).count == 1
    channels = []
    for channel in range(3):  # each channel alone, by an ordinary convolution
        g = Sketch()
        g.input("x", (1, 6, 6, 1))
        g.conv("y", "x", kernel[:, :, channel : channel + 1], stride=2)
        channels.append(compute(g.graph(), x[..., channel : channel + 1]))
    expected = np.clip(np.concatenate(channels, -1), 0, 6)
    np.testing.assert_allclose(compute(graph, x), expected, rtol=1e-4, atol=1e-5)


def test_learning_phase_is_resolved(sketch):
    """Batch statistics or moving ones, chosen by a placeholder whose default is False."""
    sketch.const("false", np.array(False))
    sketch.add("phase", "PlaceholderWithDefault", "false")
    sketch.add("pred", "Identity", "phase")
    sketch.input("x", (1, 2, 2, 1))
    sketch.const("moving", np.array([3.0], np.float32))
    sketch.const("axes", np.array([0, 1, 2], np.int32))
    sketch.add("mean", "Mean", "x", "axes")
    sketch.add("s1", "Switch", "mean", "pred")
    sketch.add("s2", "Switch", "moving", "pred")
    sketch.add("m", "Merge", "s2", "s1:1")
    sketch.add("y", "Sub", "x", "m", "^pred")
    graph = sketch.graph()
    drop_control_inputs(graph)
    resolve_conditionals(graph)
    assert graph["y"].inputs == ["x", "moving"]


def test_identities_control_edges_and_constants(sketch):
    sketch.const("w", np.float32(2))
    sketch.add("w/read", "Identity", "w")
    sketch.add("w/read2", "Identity", "w/read:0", "^w")
    sketch.input("x", (1, 2))
    sketch.with_const("twice", "Mul", "w/read2", np.float32(4))
    sketch.add("y", "Mul", "x", "twice")
    graph = sketch.graph()
    assert drop_control_inputs(graph).count == 1
    assert forward_identities(graph).count == 2
    fold_constants(graph, Evaluator(graph))
    assert graph["twice"].op == "Const" and float(graph["twice"].value) == 8


def test_fake_quantisation_of_weights_is_kept_and_of_activations_removed(sketch):
    sketch.input("x", (1, 2, 2, 1))
    sketch.const("low", np.float32(-1))
    sketch.const("high", np.float32(1))
    sketch.const("w", np.array([[[[0.3337]]]], np.float32))
    sketch.add("wq", "FakeQuantWithMinMaxVars", "w", "low", "high", num_bits=8, narrow_range=True)
    sketch.add("c", "Conv2D", "x", "wq", strides=[1, 1, 1, 1], padding="SAME")
    sketch.add("q", "FakeQuantWithMinMaxVars", "c", "low", "high", num_bits=8)
    sketch.add("y", "Relu6", "q")
    graph = sketch.graph()
    applied = remove_fake_quant(graph)
    assert applied.count == 1 and applied.warning and graph["y"].inputs == ["c"]
    assert Evaluator(graph).value("wq").item() == pytest.approx(round(0.3337 * 127) / 127, abs=1e-6)


def test_evaluator_stops_at_loops_and_knows_deep_chains():
    loop = Graph([Node("a", "Merge", ["b"]), Node("b", "NextIteration", ["a"]), Node("s", "Shape", ["a"])])
    assert Evaluator(loop).value("s") is None
    nodes = [Node("x0", "Const", (), {"value": np.float32(0)}), Node("one", "Const", (), {"value": np.float32(1)})]
    nodes += [Node(f"x{i}", "Add", [f"x{i - 1}", "one"]) for i in range(1, 5000)]
    assert float(Evaluator(Graph(nodes)).value("x4999")) == 4999


@pytest.mark.parametrize("count", [1, 2, 4])
def test_sums_of_several_tensors(count):
    g = Sketch()
    g.input("x", (1, 3, 3, 2))
    parts = [g.with_const(f"part{index}", "Mul", "x", random(2, seed=index)) for index in range(count)]
    g.add("y", "AddN", *parts)
    graph = g.graph()
    assert split_sums(graph).count == 1 and not graph.of("AddN")
    x = random(1, 3, 3, 2, seed=9)
    expected = sum(x * random(2, seed=index) for index in range(count))
    np.testing.assert_allclose(compute(forwarded(graph), x), expected, rtol=1e-6)


def forwarded(graph: Graph) -> Graph:
    forward_identities(graph)
    if graph["y"].op == "Identity":  # the graph's output itself
        graph.add(Node("y", "Mul", [graph["y"].inputs[0], "unit"]))
        graph.add(Node("unit", "Const", (), {"value": np.ones(2, np.float32)}))
    return graph


def test_shapes_for_several_images_are_cut_to_one():
    g = Sketch()
    g.input("x", (4, 6, 6, 4))
    g.with_const("flat", "Reshape", "x", np.array([4, -1, 2], np.int32))
    g.with_const("free", "Reshape", "x", np.array([-1, 72, 2], np.int32))
    g.with_const("mixed", "Reshape", "x", np.array([4, 4, 4, 9], np.int32))  # 4 again, which is no batch
    g.const("begin", np.zeros(4, np.int32))
    g.const("size", np.array([4, 3, 6, 4], np.int32))
    g.add("part", "Slice", "x", "begin", "size")
    g.const("constant", np.ones((4, 2), np.float32))
    g.with_const("other", "Reshape", "constant", np.array([4, 2], np.int32))
    graph = g.graph()
    outputs = ("flat", "free", "mixed", "part", "other")
    assert cut_batch_to_one(graph.copy(), "x", outputs, (1, 6, 6, 4), None).count == 0
    assert cut_batch_to_one(graph, "x", outputs, (1, 6, 6, 4), 4).count == 3
    shapes = Evaluator(graph, {"x": (1, 6, 6, 4)})
    assert [shapes.shape(name) for name in outputs] == [(1, 72, 2), (1, 72, 2), (1, 4, 4, 9), (1, 3, 6, 4), (4, 2)]


def test_a_choice_by_row():
    g = Sketch()
    g.const("choice", np.array([True, False]))
    g.const("a", np.ones((2, 3), np.float32))
    g.const("b", np.zeros((2, 3), np.float32))
    g.add("y", "Select", "choice", "a", "b")
    np.testing.assert_array_equal(Evaluator(g.graph()).value("y"), [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("mute", [False, True])
def test_class_logits_of_a_convolution_without_bias(mute):
    g = Sketch()
    g.input("x", (1, 4, 4, 5))
    kernel = random(1, 1, 5, 6, seed=2)
    g.conv("y", "x", kernel)
    graph = g.graph()
    assert prepare_class_logits(graph, ["y"], 3, 2.0, mute).count == 2
    x = random(1, 4, 4, 5, seed=3)
    expected = (x @ kernel[0, 0] / 2).reshape(1, 4, 4, 2, 3)
    if mute:
        expected[..., 0] = MUTED
    np.testing.assert_allclose(compute(graph, x).reshape(expected.shape), expected, rtol=1e-5, atol=1e-6)
