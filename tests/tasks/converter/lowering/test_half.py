"""The network in fp16 is made of fp16, and finds what it finds in fp32."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.half import to_half
from jetlane.tasks.proof.half import compare_half

#: Trained networks of two eras, and feature pyramids, whose Resize takes scales that are no data.
TRAINED = ("trained_A_t13_v2_160_c3", "trained_C_t15_v1_160_c3", "trained_F_t215_v2_160_c3")
NAMES = (*TRAINED, "C_t15_v1fpn_160_c3", "E_t15_v3small_160_c3")


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_heavy_is_in_fp16_and_the_ends_are_not(converted, name):
    case = converted(name)
    whole, half = (onnx.load(str(case.out / file)) for file in ("model.trt.onnx", "model.trt.fp16.onnx"))
    onnx.checker.check_model(half, full_check=True)
    assert (half.ir_version, half.opset_import[0].version) == (8, 13)
    for ours, theirs in ((half.graph.input, whole.graph.input), (half.graph.output, whole.graph.output)):
        assert list(ours) == list(theirs), "inputs and outputs stay as they are"
    types = {info.name: info.type.tensor_type.elem_type
             for info in onnx.shape_inference.infer_shapes(half).graph.value_info}  # fmt: skip
    types.update({tensor.name: tensor.data_type for tensor in half.graph.initializer})
    convolutions = [node for node in half.graph.node if node.op_type == "Conv"]
    assert len(convolutions) > 40
    for node in convolutions:
        assert {types[name] for name in [*node.input, *node.output]} == {TensorProto.FLOAT16}
    decoding = [node for node in half.graph.node if node.op_type in ("Exp", "Sigmoid")][-2:]
    assert {types.get(name, TensorProto.FLOAT) for node in decoding for name in node.output} == {TensorProto.FLOAT}
    kinds, others = (Counter(node.op_type for node in model.graph.node) for model in (half, whole))
    assert kinds - Counter({"Cast": kinds["Cast"]}) == others, "nothing is added but casts"
    assert len(half.SerializeToString()) < 0.6 * len(whole.SerializeToString())


@pytest.mark.parametrize("name", TRAINED)
def test_fp16_finds_what_fp32_finds(converted, name):
    case = converted(name)
    whole, half = ((case.out / file).read_bytes() for file in ("model.trt.onnx", "model.trt.fp16.onnx"))
    images = [reference.image for reference in case.references()]
    agreement = compare_half(whole, half, case.params, images, 0.3, 0.95, 0.02)
    assert agreement.agreed and agreement.matched >= 3, agreement
    assert agreement.lowest_iou > 0.98 and agreement.largest_score_difference < 0.01
    assert agreement.lowest_iou < 1 - 1e-5, "it is another arithmetic"


def test_another_models_fp16_disagrees(converted):
    case = converted(TRAINED[0])
    whole = (case.out / "model.trt.onnx").read_bytes()
    other = (converted(TRAINED[2]).out / "model.trt.fp16.onnx").read_bytes()
    images = [reference.image for reference in case.references()]
    agreement = compare_half(whole, other, case.params, images, 0.3, 0.95, 0.02)
    assert not agreement.agreed and agreement.missing


def small(nodes, weights, output="y"):
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 1, 4, 4])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_convolutions_own_output_and_a_shared_weight():
    """The weight is read on both sides of the border; the first convolution's value is an output and read on."""
    import onnxruntime

    nodes = [
        helper.make_node("Mul", ["x", "w"], ["a"]),
        helper.make_node("Conv", ["a", "k"], ["y"]),
        helper.make_node("Mul", ["y", "w"], ["b"]),
        helper.make_node("Add", ["b", "x"], ["unread"]),
    ]
    model = small(nodes, {"w": [0.5], "k": [[[[0.25]]]]})
    half = to_half(model)
    onnx.checker.check_model(half, full_check=True)
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    (y,) = session.run(["y"], {"x": x})
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, x / 8, atol=1e-2)


def test_what_does_not_fit_is_refused():
    conv = helper.make_node("Conv", ["x", "k"], ["y"], name="conv")
    with pytest.raises(ConversionError, match=r"weight 'k' reaches 70000") as caught:
        to_half(small([conv], {"k": [[[[70000.0]]]]}))
    assert "65504" in caught.value.why
    cast = helper.make_node("Cast", ["x"], ["c"], name="c", to=TensorProto.FLOAT)
    conv = helper.make_node("Conv", ["c", "k"], ["y"], name="conv")
    with pytest.raises(ConversionError, match="Cast 'c' fixes its own type"):
        to_half(small([cast, conv], {"k": [[[[1.0]]]]}))
