"""TensorRT 5.0 of JetPack 4.2: the builder's attributes say all; UFF and implicit batch alone."""

from __future__ import annotations

import ctypes
from typing import Any

from tests.remote.agent.doubles import common
from tests.remote.agent.doubles.board import Board, timing_lines
from tests.remote.agent.doubles.pybind import Strict, create, host_memory

VERSION = "5.0.6.3"


def names(board: Board) -> dict[str, Any]:
    shared = common.basics(board)
    INetworkDefinition = common.network(board)
    kept: list[Any] = []

    def ask(calibrator: Any, method: str, *arguments: Any) -> Any:
        """5.0 gives more than later versions: bindings, lengths, a pointer."""
        if method == "get_batch":
            return calibrator.get_batch([0], *arguments)
        if method == "read_calibration_cache":
            return calibrator.read_calibration_cache(0)
        kept.append(ctypes.create_string_buffer(arguments[0], len(arguments[0])))
        return calibrator.write_calibration_cache(ctypes.addressof(kept[-1]), len(arguments[0]))

    class Builder(Strict):
        __slots__ = (
            "DLA_core", "_logger", "allow_gpu_fallback", "default_device_type", "fp16_mode", "int8_calibrator",
            "int8_mode", "max_batch_size", "max_workspace_size",
        )  # fmt: skip

        def __init__(self, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            common.check_logger(logger)
            if board.refuse == "builder":
                raise TypeError("tensorrt.tensorrt.Builder: factory function returned nullptr")
            self._logger = board.logger = logger
            for name, value in (("max_workspace_size", 0), ("max_batch_size", 1), ("fp16_mode", False)):
                object.__setattr__(self, name, value)
            for name, value in (("int8_mode", False), ("int8_calibrator", None), ("allow_gpu_fallback", False)):
                object.__setattr__(self, name, value)
            object.__setattr__(self, "default_device_type", None)

        @property
        def platform_has_fast_fp16(self) -> bool:
            return board.fast_fp16

        @property
        def platform_has_fast_int8(self) -> bool:
            return board.fast_int8

        @property
        def num_DLA_cores(self) -> int:
            return board.dla_cores

        def create_network(self) -> Any:
            return None if board.refuse == "network" else common.new_network(board, INetworkDefinition, True)

        def build_cuda_engine(self, network: Any) -> Any:
            state = network._state
            board.say(self._logger, *timing_lines(state["layers"], runner=False))
            flags = [name for name, on in (("FP16", self.fp16_mode), ("INT8", self.int8_mode)) if on]
            settings = {
                "outputs": state["outputs"], "implicit": True, "batch": self.max_batch_size, "flags": flags,
                "workspace": self.max_workspace_size, "call": "build_cuda_engine",
                "dla": self.DLA_core if self.default_device_type else None,
            }  # fmt: skip
            plan = board.plan(self._logger, state["model"], settings, self.int8_calibrator)
            return None if plan is None else create(board, Built, plan)

    class Built(Strict):
        __slots__ = ("_plan",)

        def serialize(self) -> Any:
            return host_memory(self._plan)

    engine = common.binding_classes(board, warns=False, explicit=False, speaks_of_batch=False)
    return {
        **shared,
        **common.old_registry(board, shared["_creators"]),
        **engine,
        "Builder": Builder,
        "INetworkDefinition": INetworkDefinition,
        "UffParser": common.uff_parser(board),
        "IInt8EntropyCalibrator": common.calibrator(board, "IInt8EntropyCalibrator", ask),
        "Runtime": common.runtime(board, lambda *found: create(board, engine["ICudaEngine"], *found)),
    }
