"""Classes that several eras share; each era's module takes those it has."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
from tests.remote.agent.doubles import plugins
from tests.remote.agent.doubles.board import ERROR, Board, layers_of
from tests.remote.agent.doubles.pybind import (
    Dims,
    IHostMemory,
    Kind,
    Strict,
    create,
    enum,
    host_memory,
    let_go,
    outdated,
)

#: The enum's numbers, the same from 8.6 to 11.4; and by major version those that are not.
LAYER_TYPES = {
    "CONVOLUTION": 0,
    "ACTIVATION": 2,
    "ELEMENTWISE": 9,
    "SHUFFLE": 13,
    "REDUCE": 14,
    "CONSTANT": 19,
}
LAYER_TYPES_OF = {
    8: {"PLUGIN_V2": 22, "QUANTIZE": 33, "DEQUANTIZE": 34},
    10: {"PLUGIN_V2": 21, "QUANTIZE": 32, "DEQUANTIZE": 33},
    11: {"QUANTIZE": 32, "DEQUANTIZE": 33},
}


def basics(board: Board) -> dict[str, Any]:
    """Logger, plugins, data types, dimensions, host memory: in every era."""
    severity = enum("Severity", INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3, VERBOSE=4)

    class ILogger:
        Severity = severity

        def __init__(self) -> None:
            self._ready = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError

        def __del__(self, let_go: Any = let_go) -> None:  # at the interpreter's end the module's own is gone
            let_go(self)

    ILogger.Severity_ = list(severity.__members__.values())

    plugin_parts = plugins.fields(board)

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        check_logger(logger)
        board.started = board.refuse != "plugins"
        return board.started

    def creators() -> list[Any]:
        kind = plugin_parts["IPluginCreator"]
        return [create(board, kind, name) for name in board.plugins] if board.started else []

    return {
        "ILogger": ILogger,
        "init_libnvinfer_plugins": init_libnvinfer_plugins,
        "DataType": enum("DataType", FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4),
        "DeviceType": enum("DeviceType", GPU=0, DLA=1),
        "Dims": Dims,
        "IHostMemory": IHostMemory,
        "_creators": creators,
        **plugin_parts,
    }


def check_logger(logger: Any) -> None:
    if not getattr(logger, "_ready", False):
        raise TypeError("ILogger.__init__() must be called when overriding __init__")


def old_registry(board: Board, creators: Any) -> dict[str, Any]:
    """``plugin_creator_list``, before TensorRT 11."""

    class IPluginRegistry(Strict):
        __slots__ = ()

        @property
        def plugin_creator_list(self) -> list[Any]:
            return creators()

    def get_plugin_registry() -> Any:
        return create(board, IPluginRegistry)

    return {"IPluginRegistry": IPluginRegistry, "get_plugin_registry": get_plugin_registry}


def network(board: Board) -> Any:
    """INetworkDefinition; ``_state`` holds the model, its layers, and whether the batch is implicit."""

    class INetworkDefinition(Strict):
        __slots__ = ("_state",)

        @property
        def num_layers(self) -> int:
            return len(self._state["layers"]) + len(self._state["appended"])

        @property
        def num_outputs(self) -> int:
            return len(self._state["outputs"])

        @property
        def num_inputs(self) -> int:
            return 1

    return INetworkDefinition


def layers(board: Board, network: Any, constrained: bool, major: int) -> dict[str, Any]:
    """Layers and tensors of a network that was parsed from ONNX; ``network`` gets its ``get_layer``.

    Args:
        constrained: A layer's precision can be asked for (up to TensorRT 10).
        major: TensorRT's version.
    """
    kinds = enum("LayerType", **LAYER_TYPES, **LAYER_TYPES_OF[major])

    class ITensor(Strict):
        __slots__ = ("_name",)

        @property
        def name(self) -> str:
            return self._name

        @property
        def dtype(self) -> Kind:
            return board.names["DataType"].FLOAT

    class ILayer(Strict):
        __slots__ = ("_node", "_state", *(("precision",) if constrained else ()))

        @property
        def name(self) -> str:
            return self._node.name or self._node.output[0]

        @property
        def type(self) -> Kind:
            of = {
                "Conv": kinds.CONVOLUTION,
                "ReduceMean": kinds.REDUCE,
                "QuantizeLinear": kinds.QUANTIZE,
                "DequantizeLinear": kinds.DEQUANTIZE,
            }
            return of.get(self._node.op_type, kinds.ELEMENTWISE)

        @property
        def num_inputs(self) -> int:
            return len(self._node.input) + 1

        @property
        def num_outputs(self) -> int:
            return len(self._node.output)

        def get_input(self, index: int) -> Any:
            """None behind the last: an optional input that is not there."""
            names = self._node.input
            return create(board, ITensor, names[index]) if index < len(names) else None

        def get_output(self, index: int) -> Any:
            return create(board, ITensor, self._node.output[index])

        if constrained:

            def set_output_type(self, index: int, dtype: Any) -> None:
                assert dtype.name == "FLOAT"
                precise = ("FLOAT", "HALF") if self.type is kinds.CONVOLUTION else ("FLOAT",)
                assert self.precision.name in precise, "asked for before the type of the outputs"
                self._state["exact"].append(self.name)

    def get_layer(self: Any, index: int) -> Any:
        nodes = onnx.ModelProto.FromString(self._state["model"]).graph.node
        if index >= len(nodes):
            return self._state["appended"][index - len(nodes)]
        return create(board, ILayer, nodes[index], self._state)

    network.get_layer = get_layer
    appended = plugins.appending(board, network, kinds) if "PLUGIN_V2" in kinds.__members__ else {}
    return {"ILayer": ILayer, "ITensor": ITensor, "LayerType": kinds, **appended}


def new_network(board: Board, kind: Any, implicit: bool) -> Any:
    state = {
        "model": b"",
        "layers": [],
        "outputs": [],
        "implicit": implicit,
        "exact": [],
        "appended": [],
        "plugin": None,
    }
    return create(board, kind, state)


def uff_parser(board: Board) -> Any:
    class UffParser(Strict):
        __slots__ = ("_inputs", "_outputs")

        def __init__(self) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            self._inputs: list[str] = []
            self._outputs: list[str] = []

        def register_input(self, name: str, shape: Any, order: Any = None) -> bool:
            if len(tuple(shape)) != 3:
                raise TypeError("incompatible function arguments")
            self._inputs.append(name)
            return name == "Input" and tuple(shape) == (3, 32, 32)

        def register_output(self, name: str) -> bool:
            self._outputs.append(name)
            return True

        def parse_buffer(self, buffer: bytes, network: Any, weights_type: Any = None) -> bool:
            state, logger = network._state, board.logger
            if not state["implicit"]:
                board.say(logger, (ERROR, "UffParser: UFF needs a network with implicit batch"))
                return False
            if not buffer:
                board.say(logger, (ERROR, "UffParser: Unsupported number of graph 0"))
                return False
            if board.refuse == "parse" or not self._inputs:
                board.say(logger, (ERROR, "UffParser: Validator error: Cast: Unsupported operation _Cast"))
                return False
            outputs = ["NMS_1", "NMS"] if "MarkOutput_0" in self._outputs else []
            state.update(model=bytes(buffer), layers=layers_of(buffer), outputs=outputs)
            return True

    return UffParser


def onnx_parser(board: Board, path: bool) -> dict[str, Any]:
    """
    Args:
        path: ``parse`` has its second argument (8.0 on).
    """

    class ParserError(Strict):
        __slots__ = ("_text",)

        def desc(self) -> str:
            return self._text

    def read(parser: Any, model: Any) -> bool:
        state = parser._network._state
        if state["implicit"]:
            parser._errors.append(
                "This version of the ONNX parser only supports TensorRT INetworkDefinitions with an explicit batch"
            )
        elif board.refuse == "parse":
            parser._errors.append(
                "In node 3 with name: foo and operator: Bar (checkFallbackPluginImporter): INVALID_NODE: creator && "
                '"Plugin not found, are the plugin name, version, and namespace correct?"'
            )
        elif board.refuse != "silence":
            state.update(model=bytes(model), layers=layers_of(bytes(model)), outputs=["boxes", "scores"])
            return True
        return False

    class OnnxParser(Strict):
        __slots__ = ("_errors", "_network")

        def __init__(self, network: Any, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            check_logger(logger)
            self._network = network
            self._errors: list[str] = []

        if path:

            def parse(self, model: bytes, path: str | None = None) -> bool:
                return read(self, model)
        else:

            def parse(self, model: bytes) -> bool:  # type: ignore[misc]
                return read(self, model)

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> Any:
            return create(board, ParserError, self._errors[index])

    return {"OnnxParser": OnnxParser, "ParserError": ParserError}


def calibrator(board: Board, name: str, ask: Any) -> Any:
    """An entropy calibrator's base class; ``ask`` calls the methods with the arguments of the era."""

    class IInt8Calibrator:
        def __init__(self) -> None:
            self._ready = True

        def get_batch_size(self) -> int:
            raise NotImplementedError

        def get_batch(self, names: list[str]) -> Any:
            raise NotImplementedError

        def read_calibration_cache(self) -> Any:
            raise NotImplementedError

        def write_calibration_cache(self, cache: Any) -> None:
            raise NotImplementedError

    IInt8Calibrator.__name__ = name
    IInt8Calibrator._ask = ask
    return IInt8Calibrator


def runtime(board: Board, engine: Any) -> Any:
    """Runtime; ``engine`` makes an ICudaEngine from a plan's header and model."""

    class Runtime(Strict):
        __slots__ = ("DLA_core", "_logger")

        def __init__(self, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            check_logger(logger)
            object.__setattr__(self, "DLA_core", 0)
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
            found = board.unpack(self._logger, serialized_engine)
            if found is None:
                return None
            board.logger = self._logger
            return engine(*found)

    return Runtime


def binding_classes(board: Board, warns: bool, explicit: bool, speaks_of_batch: bool) -> dict[str, Any]:
    """Engine and context with bindings by number.

    Args:
        warns: These calls are deprecated (8.5 on).
        explicit: ``execute_async_v2`` is there, and a second kind of engine (8.0 on here; 6 and 7 take UFF alone).
        speaks_of_batch: ``has_implicit_batch_dimension`` is there (7 on).
    """

    def warn(text: str) -> None:
        if warns:
            outdated(text)

    class ICudaEngine(Strict):
        __slots__ = ("_header", "_model")

        @property
        def num_bindings(self) -> int:
            warn("num_io_tensors")
            return 3

        @property
        def max_batch_size(self) -> int:
            warn("network created with explicit batch")
            return int(self._header["batch"])

        if speaks_of_batch:

            @property
            def has_implicit_batch_dimension(self) -> bool:
                warn("explicit batch")
                return bool(self._header["implicit"])

        def get_binding_name(self, index: int) -> str:
            warn("get_tensor_name")
            return rows(self)[index][0]

        def get_binding_shape(self, index: int) -> Dims:
            warn("get_tensor_shape")
            shape = rows(self)[index][1]
            return Dims(shape[1:] if self._header["implicit"] else shape)

        def get_binding_dtype(self, index: int) -> Kind:
            warn("get_tensor_dtype")
            return board.names["DataType"].FLOAT

        def binding_is_input(self, index: int) -> bool:
            warn("get_tensor_mode")
            return rows(self)[index][0] == "Input"

        def create_execution_context(self) -> Any:
            return None if board.refuse == "context" else create(board, IExecutionContext, self)

    class IExecutionContext(Strict):
        __slots__ = ("_engine",)

        def execute_async(
            self,
            batch_size: int = 1,
            bindings: Sequence[int] = (),
            stream_handle: int = 0,
            input_consumed: Any = None,
        ) -> bool:
            warn("execute_async_v2")
            if not self._engine._header["implicit"] or board.refuse == "run":
                board.say(board.logger, (ERROR, "Parameter check failed: implicit batch"))
                return False
            return execute(self._engine, batch_size, bindings, stream_handle)

        if explicit:

            def execute_async_v2(self, bindings: list[int], stream_handle: int, input_consumed: Any = None) -> bool:
                if self._engine._header["implicit"]:
                    board.say(board.logger, (ERROR, "execute_async_v2 on an implicit engine"))
                    return False
                return execute(self._engine, 1, bindings, stream_handle)

    def rows(engine: Any) -> list[tuple[str, tuple[int, ...]]]:
        """NMS_1 comes before NMS, as a UFF may have it, and its int32 count lies in a float tensor."""
        if engine._header["implicit"]:
            return [("Input", (1, 3, 32, 32)), ("NMS_1", (1, 1, 1, 1)), ("NMS", (1, 1, 8, 7))]
        return list(shapes_of(engine).items())

    def execute(engine: Any, batch_size: int, bindings: Sequence[int], stream: int) -> bool:
        if type(stream) is not int or batch_size > engine._header["batch"] or len(bindings) != 3:
            raise TypeError("incompatible function arguments")
        return fill(board, engine, dict(zip([name for name, _ in rows(engine)], bindings)), dict(rows(engine)))

    return {"ICudaEngine": ICudaEngine, "IExecutionContext": IExecutionContext}


def fill(board: Board, engine: Any, addresses: dict[str, int], shapes: dict[str, tuple[int, ...]]) -> bool:
    """Run the engine on the given addresses."""
    outputs = board.compute(engine._model, board.memory(addresses["Input"], shapes["Input"], np.float32))
    if engine._header.get("plugin"):
        outputs = plugins.run(engine._header["plugin"], outputs)
    for name, shape in shapes.items():
        if name != "Input":
            board.memory(addresses[name], shape, outputs[name].dtype)[:] = outputs[name].reshape(shape)
    return board.refuse != "run"


def shapes_of(engine: Any) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an engine's tensors with explicit batch; outputs and inputs in no order."""
    plugin, found = engine._header.get("plugin"), model_shapes(engine._model)
    if plugin is None:
        return found
    rows, count = plugins.output_shapes(plugin["settings"])
    return {"NMS_1": count, "Input": found["Input"], "NMS": rows}


@lru_cache(maxsize=8)
def model_shapes(model: bytes) -> dict[str, tuple[int, ...]]:
    """Names and shapes of an ONNX model's tensors, not in the order of the file."""
    graph = onnx.ModelProto.FromString(model).graph
    found = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.output)
    }
    return {name: found[name] for name in ("scores", "Input", "boxes") if name in found}


def tensor_classes(board: Board, bases: dict[str, Any], asks_for_strategy: bool) -> dict[str, Any]:
    """Engine and context with tensors by name (8.5 on).

    Args:
        bases: The classes of the era's bindings, where it still has them.
        asks_for_strategy: ``create_execution_context`` takes one (10 on).
    """
    modes = enum("TensorIOMode", NONE=0, INPUT=1, OUTPUT=2)
    slots = () if bases else ("_header", "_model")

    def context(engine: Any) -> Any:
        made = None if board.refuse == "context" else create(board, IExecutionContext)
        if made is not None:
            object.__setattr__(made, "_engine", engine)
            object.__setattr__(made, "_addresses", {})
        return made

    class ICudaEngine(bases.get("ICudaEngine", Strict)):  # type: ignore[misc]
        __slots__ = slots

        @property
        def num_io_tensors(self) -> int:
            return len(shapes_of(self))

        def get_tensor_name(self, index: int) -> str:
            return list(shapes_of(self))[index]

        def get_tensor_mode(self, name: str) -> Kind:
            return modes.INPUT if name == "Input" else modes.OUTPUT

        def get_tensor_shape(self, name: str) -> Dims:
            return Dims(shapes_of(self)[name])

        def get_tensor_dtype(self, name: str) -> Kind:
            return board.names["DataType"].BF16 if board.refuse == "type" else board.names["DataType"].FLOAT

        if asks_for_strategy:

            def create_execution_context(self, strategy: Any = None) -> Any:
                return context(self)
        else:

            def create_execution_context(self) -> Any:  # type: ignore[misc]
                return context(self)

    class IExecutionContext(bases.get("IExecutionContext", Strict)):  # type: ignore[misc]
        __slots__ = ("_addresses",) if bases else ("_addresses", "_engine")

        def set_tensor_address(self, name: str, memory: int) -> bool:
            if name not in shapes_of(self._engine) or board.refuse == "address":
                board.say(board.logger, (ERROR, f"Given invalid tensor name: {name}"))
                return False
            board.memory(memory, (1,), np.uint8)
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            if type(stream_handle) is not int:
                raise TypeError("incompatible function arguments")
            if set(self._addresses) != set(shapes_of(self._engine)):
                board.say(board.logger, (ERROR, "Address is not set for a tensor"))
                return False
            return fill(board, self._engine, self._addresses, shapes_of(self._engine))

    return {"ICudaEngine": ICudaEngine, "IExecutionContext": IExecutionContext, "TensorIOMode": modes}


def timing_cache_class(board: Board) -> Any:
    class ITimingCache(Strict):
        __slots__ = ("_content",)

        def serialize(self) -> Any:
            return host_memory(b"timing of " + board.version.encode() + b": " + self._content)

    return ITimingCache
