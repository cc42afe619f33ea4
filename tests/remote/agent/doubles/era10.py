"""TensorRT 10.3 of JetPack 6.1 and 6.2: no UFF, no implicit batch, no bindings; a progress monitor."""

from __future__ import annotations

import threading
from typing import Any

from tests.remote.agent.doubles import common
from tests.remote.agent.doubles.board import ERROR, Board
from tests.remote.agent.doubles.era7 import ask
from tests.remote.agent.doubles.era8 import _timing_cache, new_config, settings_of
from tests.remote.agent.doubles.pybind import Strict, create, enum, host_memory, outdated

VERSION = "10.3.0"


class IProgressMonitor:
    def __init__(self) -> None:
        self._ready = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


def names(board: Board) -> dict[str, Any]:
    shared = common.basics(board)
    INetworkDefinition, ITimingCache = common.network(board), common.timing_cache_class(board)

    class IBuilderConfig(Strict):
        __slots__ = (
            "DLA_core",
            "_cache",
            "_calibrator",
            "_flags",
            "_workspace",
            "default_device_type",
            "progress_monitor",
        )

        def set_flag(self, flag: Any) -> None:
            self._flags.append(flag.name)

        @property
        def int8_calibrator(self) -> Any:
            return self._calibrator

        @int8_calibrator.setter
        def int8_calibrator(self, calibrator: Any) -> None:
            outdated("explicit quantization")
            self._calibrator = calibrator

        def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
            assert pool.name == "WORKSPACE"
            self._workspace = pool_size

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return _timing_cache(board, ITimingCache, serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self._cache = cache
            return True

        def get_timing_cache(self) -> Any:
            return self._cache

    class Builder(Strict):
        __slots__ = ("_logger",)

        def __init__(self, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            common.check_logger(logger)
            if board.refuse == "builder":
                raise TypeError("tensorrt.tensorrt.Builder: factory function returned nullptr")
            self._logger = board.logger = logger

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
            return None if board.refuse == "network" else common.new_network(board, INetworkDefinition, False)

        def create_builder_config(self) -> Any:
            made = new_config(board, IBuilderConfig)
            object.__setattr__(made, "_calibrator", None)
            object.__setattr__(made, "progress_monitor", None)
            return made

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            state = network._state
            if not watched(board, self._logger, config.progress_monitor, state["layers"]):
                return None
            plan = board.plan(self._logger, state["model"], settings_of(state, config, 1), config._calibrator)
            return None if plan is None else host_memory(plan)

    engine = common.tensor_classes(board, {}, asks_for_strategy=True)
    return {
        **shared,
        **common.old_registry(board, shared["_creators"]),
        **engine,
        **common.onnx_parser(board, path=True),
        **common.layers(board, INetworkDefinition, constrained=True, major=10),
        "DataType": enum("DataType", FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4, UINT8=5, FP8=6, BF16=7, INT64=8, INT4=9),
        "MemoryPoolType": enum("MemoryPoolType", WORKSPACE=0, DLA_MANAGED_SRAM=1),
        "Builder": Builder,
        "IBuilderConfig": IBuilderConfig,
        "ITimingCache": ITimingCache,
        "IProgressMonitor": IProgressMonitor,
        "BuilderFlag": enum(
            "BuilderFlag", FP16=0, BF16=17, INT8=1, DEBUG=2, GPU_FALLBACK=3, REFIT=4, PREFER_PRECISION_CONSTRAINTS=10
        ),
        "NetworkDefinitionCreationFlag": enum("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0, STRONGLY_TYPED=1),
        "INetworkDefinition": INetworkDefinition,
        "IInt8EntropyCalibrator": common.calibrator(board, "IInt8EntropyCalibrator", ask),
        "IInt8EntropyCalibrator2": common.calibrator(board, "IInt8EntropyCalibrator2", ask),
        "Runtime": common.runtime(board, lambda *found: create(board, engine["ICudaEngine"], *found)),
    }


def watched(board: Board, logger: Any, monitor: Any, layers: list[str]) -> bool:
    """Tell a monitor of nested phases, from another thread; one of them ends before its last step."""
    going = [True]

    def speak() -> None:
        monitor.phase_start("Building Engine", None, 2)
        monitor.phase_start("Timing layers", "Building Engine", len(layers))
        for step in range(len(layers) - 1):
            going[0] = going[0] and monitor.step_complete("Timing layers", step)
        monitor.phase_finish("Timing layers")
        going[0] = going[0] and monitor.step_complete("Building Engine", 0)
        monitor.phase_finish("Building Engine")

    if monitor is not None:
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
    if not going[0]:
        board.say(logger, (ERROR, "Error Code 7: BuildCanceled (Build canceled by user from progress monitor)"))
    return going[0]
