"""NMSDynamic_TRT, and the layers around it (8.0 to 10): what is appended to a parsed network, and what it computes.

A tensor knows how it comes from the model's outputs, as JSON, for a plan to hold: ``["output", name]``,
``["clip", of, low, high]``, ``["reshape", of, shape]`` or ``["constant", values]``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from tests.remote.agent.doubles.board import WARNING, Board
from tests.remote.agent.doubles.pybind import Dims, Strict, create, enum

from jetlane.remote.agent.detect.nms import suppress

NAME = "NMSDynamic_TRT"
#: Those that the plugin reads, and whether they are whole numbers.
_FIELDS = {
    "shareLocation": True, "varianceEncodedInTarget": True, "backgroundLabelId": True, "numClasses": True,
    "topK": True, "keepTopK": True, "confidenceThreshold": False, "nmsThreshold": False, "inputOrder": True,
    "confSigmoid": True, "isNormalized": True, "codeType": True,
}  # fmt: skip
_CORNER = 0


def fields(board: Board) -> dict[str, Any]:
    """Plugins and their fields."""

    class PluginField:
        def __init__(self, name: str, data: Any, type: Any) -> None:
            self.name, self.type = name, type
            self._values = np.frombuffer(data, {"INT32": np.int32, "FLOAT32": np.float32}[type.name]).tolist()

    class IPluginV2(Strict):
        __slots__ = ("_settings",)

    class IPluginCreator(Strict):
        __slots__ = ("_name",)

        @property
        def name(self) -> str:
            return self._name

        @property
        def plugin_version(self) -> str:
            return "1"

        def create_plugin(self, name: str, field_collection: Any) -> Any:
            board.say(board.logger, (WARNING, f"{self._name} is deprecated since TensorRT 9.0."))
            assert {field.name: field.type.name == "INT32" for field in field_collection} == _FIELDS
            return create(board, IPluginV2, {field.name: field._values for field in field_collection})

    return {
        "PluginField": PluginField,
        "PluginFieldCollection": list,
        "PluginFieldType": enum("PluginFieldType", FLOAT32=1, INT32=5),
        "ActivationType": enum("ActivationType", CLIP=8),
        "IPluginV2": IPluginV2,
        "IPluginCreator": IPluginCreator,
    }


def appending(board: Board, network: Any, kinds: Any) -> dict[str, Any]:
    """The layers that can be appended; ``network`` gets the methods that do it.

    Args:
        kinds: The era's LayerType.
    """

    class ITensor(Strict):
        __slots__ = ("_origin", "_shape", "name")

        @property
        def shape(self) -> Dims:
            return Dims(self._shape)

        @property
        def dtype(self) -> Any:
            return board.names["DataType"].FLOAT

    class Layer(Strict):
        __slots__ = ("_inputs", "_outputs", "name", "precision")

        @property
        def type(self) -> Any:
            return getattr(kinds, self._kind)

        @property
        def num_inputs(self) -> int:
            return len(self._inputs)

        @property
        def num_outputs(self) -> int:
            return len(self._outputs)

        def get_input(self, index: int) -> Any:
            return self._inputs[index]

        def get_output(self, index: int) -> Any:
            return self._outputs[index]

        def set_output_type(self, index: int, dtype: Any) -> None:
            assert self._kind != "PLUGIN_V2", "a plugin says the types of its outputs"

    class IConstantLayer(Layer):
        __slots__ = ()
        _kind = "CONSTANT"

    class IPluginV2Layer(Layer):
        __slots__ = ()
        _kind = "PLUGIN_V2"

    class IActivationLayer(Layer):
        __slots__ = ("alpha", "beta")
        _kind = "ACTIVATION"

        def get_output(self, index: int) -> Any:
            (given,) = self._inputs
            return tensor(["clip", given._origin, self.alpha, self.beta], given._shape)

    class IShuffleLayer(Layer):
        __slots__ = ("reshape_dims",)
        _kind = "SHUFFLE"

        def get_output(self, index: int) -> Any:
            shape = tuple(self.reshape_dims)
            assert math.prod(shape) == math.prod(self._inputs[0]._shape)
            return tensor(["reshape", self._inputs[0]._origin, shape], shape)

    def tensor(origin: Any, shape: Any, name: str = "(Unnamed)") -> Any:
        return create(board, ITensor, origin, tuple(shape), name)

    def append(self: Any, kind: Any, inputs: list[Any], outputs: list[Any]) -> Any:
        layer = create(board, kind, inputs, outputs, "", None)
        self._state["appended"].append(layer)
        return layer

    def get_output(self: Any, index: int) -> Any:
        name = self._state["outputs"][index]
        (found,) = (one for one in onnx.ModelProto.FromString(self._state["model"]).graph.output if one.name == name)
        return tensor(["output", name], [dim.dim_value for dim in found.type.tensor_type.shape.dim], name)

    def add_constant(self: Any, shape: Any, weights: Any) -> Any:
        assert weights.dtype == np.float32 and weights.shape == tuple(shape)
        return append(self, IConstantLayer, [], [tensor(["constant", weights.tolist()], shape)])

    def add_shuffle(self: Any, input: Any) -> Any:
        return append(self, IShuffleLayer, [input], [tensor(input._origin, input._shape)])

    def add_activation(self: Any, input: Any, type: Any) -> Any:
        assert type.name == "CLIP"
        return append(self, IActivationLayer, [input], [tensor(input._origin, input._shape)])

    def add_plugin_v2(self: Any, inputs: Any, plugin: Any) -> Any:
        self._state["plugin"] = {"settings": plugin._settings, "inputs": [one._origin for one in inputs]}
        outputs = [tensor(["plugin", index], shape) for index, shape in enumerate(output_shapes(plugin._settings))]
        return append(self, IPluginV2Layer, list(inputs), outputs)

    def mark_output(self: Any, tensor: Any) -> None:
        assert tensor._origin[0] == "plugin"
        self._state["outputs"].append(tensor.name)

    def unmark_output(self: Any, tensor: Any) -> None:
        self._state["outputs"].remove(tensor.name)

    for method in (get_output, add_constant, add_shuffle, add_activation, add_plugin_v2, mark_output, unmark_output):
        setattr(network, method.__name__, method)
    kinds_of_layers = (IConstantLayer, IPluginV2Layer, IActivationLayer, IShuffleLayer)
    return {**{kind.__name__: kind for kind in kinds_of_layers}}


def output_shapes(settings: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (1, 1, settings["keepTopK"][0], 7), (1, 1, 1, 1)


def run(plugin: dict[str, Any], outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """NMS, float32 [1, 1, keepTopK, 7], and NMS_1, an int32 in a float's bytes, as 8.6.1 gave them on a GPU."""
    settings, inputs = plugin["settings"], [_value(origin, outputs) for origin in plugin["inputs"]]
    loc, conf, priors = (inputs[index] for index in settings["inputOrder"])
    (classes,), (code,) = settings["numClasses"], settings["codeType"]
    assert code == _CORNER and settings["varianceEncodedInTarget"] == [1] and settings["confSigmoid"] == [0]
    assert loc.shape[1] // 4 == conf.shape[1] // classes == priors.shape[2] // 4 and priors.shape[:2] == (1, 2)
    boxes = loc.reshape(-1, 4) + priors[0, 0].reshape(-1, 4)
    nms = {
        "background_label_id": settings["backgroundLabelId"][0],
        "top_k": settings["topK"][0],
        "keep_top_k": settings["keepTopK"][0],
        "confidence_threshold": settings["confidenceThreshold"][0],
        "nms_threshold": settings["nmsThreshold"][0],
        "is_normalized": bool(settings["isNormalized"][0]),
    }
    rows, count = suppress(boxes, conf.reshape(-1, classes), nms)
    return {"NMS": rows[None, None], "NMS_1": np.array([count], np.int32).view(np.float32).reshape(1, 1, 1, 1)}


def _value(origin: Any, outputs: dict[str, np.ndarray]) -> np.ndarray:
    what, *rest = origin
    if what == "output":
        return outputs[rest[0]]
    if what == "constant":
        return np.array(rest[0], np.float32)
    given = _value(rest[0], outputs)
    return np.clip(given, *rest[1:]) if what == "clip" else given.reshape(rest[1])
