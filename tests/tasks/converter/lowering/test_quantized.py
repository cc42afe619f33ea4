"""The int8 network: quantisers as TensorRT takes them, before every convolution that feeds another one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.last_convolutions import feeding
from jetlane.tasks.converter.lowering.quantized import to_int8

GRAPHS = ["trained_F_t215_v2_160_c3", "trained_C_t15_v1_160_c3"]


def noise(model: onnx.ModelProto, count: int = 2) -> list[np.ndarray]:
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    return list(np.random.default_rng(3).uniform(-1, 1, (count, *shape)).astype(np.float32))


@pytest.fixture(params=GRAPHS)
def whole(request: pytest.FixtureRequest, converted: Any) -> onnx.ModelProto:
    return onnx.load(str(converted(request.param).out / "model.trt.onnx"))


def test_quantisers_are_what_tensorrt_takes(whole: onnx.ModelProto) -> None:
    """Symmetric in int8, by channel for weights; biases, and all behind the last convolutions, stay as they are."""
    made = to_int8(whole, noise(whole))
    onnx.checker.check_model(made, full_check=True)
    constants = {one.name: numpy_helper.to_array(one) for one in made.graph.initializer}
    makers = {name: node for node in made.graph.node for name in node.output}
    given = {node.name: node for node in whole.graph.node}
    inside = {node.name for node, feeds in zip(whole.graph.node, feeding(whole.graph.node)) if feeds}
    convolutions = [node for node in made.graph.node if node.op_type == "Conv"]
    for node in convolutions:
        data, weights = makers.get(node.input[0]), makers.get(node.input[1])
        if node.name not in inside:
            assert weights is None, node.name
            continue
        assert data is not None and weights is not None
        for dequantizer in (data, weights):
            assert dequantizer.op_type == "DequantizeLinear"
            quantizer = makers[dequantizer.input[0]]
            assert quantizer.op_type == "QuantizeLinear" and quantizer.input[1:] == dequantizer.input[1:]
            zero = constants[quantizer.input[2]]
            assert zero.dtype == np.int8 and not zero.any()
            assert (constants[quantizer.input[1]] > 0).all()
        weight = constants[makers[weights.input[0]].input[0]]
        np.testing.assert_array_equal(weight, constants_of(whole)[given[node.name].input[1]])
        scales = constants[weights.input[1]]
        assert scales.shape == weight.shape[:1] and weights.attribute[0].i == 0
        fitting = np.abs(weight).max(axis=(1, 2, 3)) / 127
        counts = fitting > 1e-4  # onnxruntime gives dead channels larger ones
        np.testing.assert_allclose(scales[counts], fitting[counts], rtol=0.02)
        assert (scales >= 0.99 * fitting).all()
        assert all(constants[name].dtype == np.float32 for name in node.input[2:])
    assert 0 < len(convolutions) - len(inside & {node.name for node in convolutions}) <= 12
    kinds = [Counter(node.op_type for node in model.graph.node) for model in (made, whole)]
    assert {name for name in kinds[0] if kinds[0][name] != kinds[1][name]} == {"QuantizeLinear", "DequantizeLinear"}


def constants_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def test_the_same_images_give_the_same_file_and_others_another(whole: onnx.ModelProto) -> None:
    images, seen = noise(whole), list[int]()
    first = to_int8(whole, iter(images), seen.append).SerializeToString()
    assert seen == [1, 2] and to_int8(whole, images).SerializeToString() == first
    assert to_int8(whole, images[:1]).SerializeToString() != first


def test_a_network_with_nothing_to_quantise_is_said() -> None:
    shape = [1, 3, 4, 4]
    nodes = [helper.make_node("Conv", ["Input", "weights"], ["boxes"], name="only")]
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "weights")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("Input", "boxes")]
    model = helper.make_model(helper.make_graph(nodes, "one", values[:1], values[1:], [weights]))
    with pytest.raises(ConversionError, match="nothing to quantise"):
        to_int8(model, [])


def test_without_images_it_is_said(whole: onnx.ModelProto) -> None:
    with pytest.raises(ConversionError, match="cannot quantise"):
        to_int8(whole, [])
