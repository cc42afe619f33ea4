"""TensorRT 7.1 of JetPack 4.4 and 4.5: builder configs; the builder's old attributes are still there."""

from __future__ import annotations

from typing import Any

from tests.remote.agent.doubles import common
from tests.remote.agent.doubles.board import Board, timing_lines
from tests.remote.agent.doubles.pybind import Strict, create, enum, host_memory

VERSION = "7.1.3.0"


def ask(calibrator: Any, method: str, *arguments: Any) -> Any:
    """From 5.1 on: names alone, nothing, a buffer."""
    given = [memoryview(one) if isinstance(one, bytes) else one for one in arguments]
    return getattr(calibrator, method)(*given)


def names(board: Board) -> dict[str, Any]:
    shared = common.basics(board)
    INetworkDefinition = common.network(board)

    class IBuilderConfig(Strict):
        __slots__ = ("DLA_core", "_flags", "default_device_type", "int8_calibrator", "max_workspace_size")

        def set_flag(self, flag: Any) -> None:
            self._flags.append(flag.name)

    class Builder(Strict):
        __slots__ = ("_logger", "max_batch_size")

        def __init__(self, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            common.check_logger(logger)
            if board.refuse == "builder":
                raise TypeError("tensorrt.tensorrt.Builder: factory function returned nullptr")
            self._logger = board.logger = logger
            object.__setattr__(self, "max_batch_size", 1)

        @property
        def platform_has_fast_fp16(self) -> bool:
            return board.fast_fp16

        @property
        def platform_has_fast_int8(self) -> bool:
            return board.fast_int8

        @property
        def num_DLA_cores(self) -> int:
            return board.dla_cores

        def create_network(self, flags: int = 0) -> Any:
            return None if board.refuse == "network" else common.new_network(board, INetworkDefinition, flags == 0)

        def create_builder_config(self) -> Any:
            made = create(board, IBuilderConfig)
            defaults = {"_flags": [], "default_device_type": None, "int8_calibrator": None, "max_workspace_size": 0}
            for name, value in defaults.items():
                object.__setattr__(made, name, value)
            return made

        def build_engine(self, network: Any, config: Any) -> Any:
            state = network._state
            board.say(self._logger, *timing_lines(state["layers"], runner=True))
            settings = {
                "outputs": state["outputs"], "implicit": state["implicit"], "batch": self.max_batch_size,
                "flags": config._flags, "workspace": config.max_workspace_size, "call": "build_engine",
                "dla": config.DLA_core if config.default_device_type else None,
            }  # fmt: skip
            plan = board.plan(self._logger, state["model"], settings, config.int8_calibrator)
            return None if plan is None else create(board, Built, plan)

    class Built(Strict):
        __slots__ = ("_plan",)

        def serialize(self) -> Any:
            return host_memory(self._plan)

    engine = common.binding_classes(board, warns=False, explicit=False, speaks_of_batch=True)
    return {
        **shared,
        **common.old_registry(board, shared["_creators"]),
        **engine,
        **common.onnx_parser(board, path=False),
        "Builder": Builder,
        "IBuilderConfig": IBuilderConfig,
        "BuilderFlag": enum("BuilderFlag", FP16=0, INT8=1, DEBUG=2, GPU_FALLBACK=3, STRICT_TYPES=4, REFIT=5),
        "NetworkDefinitionCreationFlag": enum("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0, EXPLICIT_PRECISION=1),
        "INetworkDefinition": INetworkDefinition,
        "UffParser": common.uff_parser(board),
        "IInt8EntropyCalibrator": common.calibrator(board, "IInt8EntropyCalibrator", ask),
        "IInt8EntropyCalibrator2": common.calibrator(board, "IInt8EntropyCalibrator2", ask),
        "Runtime": common.runtime(board, lambda *found: create(board, engine["ICudaEngine"], *found)),
    }
