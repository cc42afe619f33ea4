"""Operations that NVIDIA's UFF parsers misread: each is written in a form with the same result that they read."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tasks.converter.graph.sketches import Sketch
from tests.tasks.converter.uff.interpreter import run

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.uff import convert_graph
from jetlane.tasks.converter.uff.parser_faults import misreadings, reordered_and_shared

SIZE = (1, 6, 4, 5)
X = np.random.default_rng(3).normal(size=SIZE).astype(np.float32)
PER_CHANNEL = np.linspace(-0.5, 0.5, 5, dtype=np.float32)


def sketch() -> Sketch:
    g = Sketch()
    g.input("x", SIZE)
    return g


def written(g: Sketch, output: str = "y"):
    """The UFF graph, and what it gives for ``X``."""
    uff = convert_graph(g.graph(), [output], {"x": SIZE})
    return uff, run(uff, {"x": X}, [output])[0]


def operations(uff) -> list[str]:
    return [node.operation for node in uff.nodes]


@pytest.mark.parametrize("constant", [np.float32(0.2), PER_CHANNEL])
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize(("op", "expected"), [("Minimum", np.minimum), ("Maximum", np.maximum)])
def test_bounds_are_made_of_relu(op, expected, first, constant):
    g = sketch()
    g.const("c", constant)
    g.add("y", op, *(("c", "x") if first else ("x", "c")))
    uff, found = written(g)
    assert {node.fields["func"] for node in uff.nodes if node.operation == "Binary"} <= {"add", "sub", "mul"}
    np.testing.assert_allclose(found, expected(X, constant), atol=1e-6)


def test_a_constant_is_not_subtracted_from():
    g = sketch()
    g.const("c", PER_CHANNEL)
    g.add("y", "Sub", "c", "x")
    uff, found = written(g)
    assert {node.fields["func"] for node in uff.nodes if node.operation == "Binary"} == {"mul", "add"}
    np.testing.assert_array_equal(found, PER_CHANNEL - X)


@pytest.mark.parametrize("shape", [None, (24, 5)])
def test_a_softmax_has_its_channels_first(shape):
    g, expected = sketch(), np.exp(X) / np.exp(X).sum(-1, keepdims=True)
    if shape:
        g.const("shape", np.array([1, *shape], np.int32))
        g.add("flat", "Reshape", "x", "shape")
    g.add("y", "Softmax", "flat" if shape else "x")
    uff, found = written(g)
    (softmax,) = (node for node in uff.nodes if node.operation == "Softmax")
    assert softmax.fields["inputs_orders"] == ("NC+",) and uff.node(softmax.inputs[0]).operation == "Transpose"
    np.testing.assert_allclose(found, expected.reshape((1, *shape) if shape else SIZE), atol=1e-6)


@pytest.mark.parametrize(
    ("cut", "convolutions"),
    [
        ((slice(None), slice(1, None), slice(1, None), slice(None)), 1),
        ((slice(None), slice(None), slice(None), slice(1, 3)), 1),
        ((slice(None), slice(None, None, 2), slice(1, 4, 2), slice(None)), 1),
        ((slice(None), slice(0, 5, 3), slice(None), slice(2, None, 2)), 2),
        ((slice(None), slice(5, 6), slice(3, 4), slice(None)), 1),
        ((slice(None), slice(None), slice(None), slice(None)), 1),
    ],
)
def test_a_slice_of_a_map_is_made_of_convolutions(cut, convolutions):
    g = sketch()
    masks = {
        "begin_mask": sum(1 << axis for axis, one in enumerate(cut) if one.start is None),
        "end_mask": sum(1 << axis for axis, one in enumerate(cut) if one.stop is None),
    }
    for name, values in (
        ("begin", [one.start or 0 for one in cut]),
        ("end", [one.stop or 0 for one in cut]),
        ("strides", [one.step or 1 for one in cut]),
    ):
        g.const(name, np.array(values, np.int32))
    g.add("y", "StridedSlice", "x", "begin", "end", "strides", **masks)
    uff, found = written(g)
    assert operations(uff).count("Conv") == convolutions and "StridedSlice" not in operations(uff)
    np.testing.assert_array_equal(found, X[cut])


def test_a_mean_over_the_map_is_a_pooling():
    g = sketch()
    g.const("axes", np.array([2, 1], np.int32))
    g.add("mean", "Mean", "x", "axes", keep_dims=True)
    g.add("y", "Mul", "x", "mean")
    uff, found = written(g)
    assert uff.node("mean").operation == "Pool" and uff.node("mean").fields["kernel"] == [6, 4]
    np.testing.assert_allclose(found, X * X.mean((1, 2), keepdims=True), atol=1e-6)


@pytest.mark.parametrize("readers", [("Max", "Mul"), ("Max", "Max"), ("Max", "MarkOutput")])
def test_an_operation_that_reorders_has_a_tensor_of_its_own(readers):
    g = sketch()
    g.add("shared", "Relu", "x")
    g.const("axis", np.array([3], np.int32))
    g.add("most", "Max", "shared", "axis", keep_dims=True)
    if readers[1] == "Max":
        g.add("other", "Max", "shared", "axis", keep_dims=True)
        g.add("y", "Add", "most", "other")
    else:
        g.add("y", "Mul", "shared", "most")
    uff = convert_graph(g.graph(), ["y", "shared"] if readers[1] == "MarkOutput" else ["y"], {"x": SIZE})
    assert uff.node("most").inputs == ("most/reduced",)
    assert uff.node("most/reduced").inputs == ("most/reduced/own",)
    assert uff.node("most/reduced/own").operation == "Binary"
    assert not reordered_and_shared(uff.nodes)
    relu = np.maximum(X, 0)
    top = relu.max(-1, keepdims=True)
    np.testing.assert_array_equal(run(uff, {"x": X}, ["y"])[0], 2 * top if readers[1] == "Max" else relu * top)


def test_a_maximum_keeps_the_zeros_of_the_pad_before_it():
    g = sketch()
    g.with_const("lower", "Sub", "x", np.float32(9))  # nothing is above zero but the margin
    g.with_const("pad", "Pad", "lower", np.array([(0, 0), (1, 1), (1, 1), (0, 0)], np.int32))
    g.add("y", "MaxPool", "pad", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")
    uff, found = written(g)
    assert "padding" not in uff.node("y").fields and uff.node("y").inputs == ("pad",)
    assert (found[:, 0] == 0).all() and (found[:, -1, 1:] < 0).all()


def test_channels_are_padded_apart_from_pixels():
    """In one Pad the parsers mix rows and channels up, and refuse three axes."""
    g, amounts = sketch(), np.array([(0, 0), (1, 0), (0, 2), (1, 1)], np.int32)
    g.with_const("y", "Pad", "x", amounts)
    uff, found = written(g)
    assert operations(uff).count("Pad") == 2 and not misreadings(uff.nodes, {"x": SIZE})
    np.testing.assert_array_equal(found, np.pad(X, amounts))


def test_an_added_dimension_is_a_reshape():
    g = sketch()
    g.const("axis", np.array(3, np.int32))
    g.add("y", "ExpandDims", "x", "axis")
    uff, found = written(g)
    assert uff.node("y").operation == "Reshape"
    np.testing.assert_array_equal(found, X[:, :, :, None])


def test_a_flatten_is_read_by_a_matrix_product_alone():
    """Another reader takes its order for that of a map; NVIDIA's converter writes it all the same."""
    g = sketch()
    g.with_const("flatten/Reshape", "Reshape", "x", np.array([1, 120], np.int32))
    g.with_const("y", "Reshape", "flatten/Reshape", np.array([1, 4, 6, 5], np.int32))
    uff, found = written(g)
    assert "Flatten" not in operations(uff)
    np.testing.assert_array_equal(found, X.reshape(1, 4, 6, 5))
    uff.message.graphs[0].nodes[operations(uff).index("Reshape") + 2].operation = "Flatten"
    uff._nodes = None
    assert [one.pattern for one in misreadings(uff.nodes, {"x": SIZE})] == ["Reshape of a Flatten"]


def test_axes_are_counted_from_the_first():
    g = sketch()
    g.add("relu", "Relu", "x")
    g.const("axis", np.array(-1, np.int32))
    g.add("y", "ConcatV2", "x", "relu", "axis")
    uff, found = written(g)
    assert uff.node("y").fields == {"axis": 3} and found.shape[-1] == 10


@pytest.mark.parametrize("operation", ["Mul", "Add", "AddV2"])
@pytest.mark.parametrize("reader", ["Transpose", "Softmax"])
def test_a_constant_stands_second_in_what_is_transposed(operation, reader):
    """NVIDIA's parser of 7.1 refuses the other order."""
    g = sketch()
    g.const("c", np.float32(2))
    g.add("scaled", operation, "c", "x")
    if reader == "Transpose":
        g.with_const("y", "Transpose", "scaled", np.array([0, 3, 1, 2], np.int32))
    else:
        g.add("y", "Softmax", "scaled")
    uff = convert_graph(g.graph(), ["y"], {"x": SIZE})
    assert uff.node("scaled").inputs == ("x", "c")


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda g: g.with_const("y", "Mul", "x", np.ones(SIZE, np.float32)), "several numbers per channel"),
        (
            lambda g: (
                g.with_const("flat", "Reshape", "x", np.array([1, 24, 1, 5], np.int32)),
                g.add("relu", "Relu", "flat"),
                g.with_const("y", "Mul", "relu", PER_CHANNEL),
            ),
            "behind a Reshape",
        ),
        (lambda g: g.add("y", "Pack", "x", "x", axis=1), "Stack of feature maps"),
        (lambda g: (g.const("c", np.float32(1)), g.add("y", "RealDiv", "c", "x")), "Binary div with a constant first"),
    ],
)
def test_what_has_no_such_form_is_refused_by_name(build, says):
    g = sketch()
    build(g)
    with pytest.raises(ConversionError, match=says):
        convert_graph(g.graph(), ["y"], {"x": SIZE})


def test_a_file_of_another_writer_is_held_to_the_same_rules():
    """As NVIDIA's converter writes them: a softmax over four axes, channels last, and a shared tensor."""
    g = sketch()
    g.add("y", "Relu", "x")
    uff = convert_graph(g.graph(), ["y"], {"x": SIZE})
    node = uff.message.graphs[0].nodes.add(id="s", operation="Softmax", inputs=["x"])
    node.fields["axis"].i = 0
    uff._nodes = None
    found = misreadings(uff.nodes, {"x": SIZE})
    assert [one.pattern for one in found] == ["Softmax of more than 2 dimensions", "Softmax of a shared tensor"]
