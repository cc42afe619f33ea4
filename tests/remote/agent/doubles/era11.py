"""TensorRT 11.4: the model alone says how to compute. No precision flags, no calibrators, no GPU questions."""

from __future__ import annotations

from typing import Any

from tests.remote.agent.doubles import common
from tests.remote.agent.doubles.board import ERROR, Board
from tests.remote.agent.doubles.era8 import _timing_cache, new_config, settings_of
from tests.remote.agent.doubles.era10 import IProgressMonitor, watched
from tests.remote.agent.doubles.pybind import Strict, create, enum, host_memory

VERSION = "11.4.1"


def names(board: Board) -> dict[str, Any]:
    shared = common.basics(board)
    creators = shared["_creators"]
    INetworkDefinition, ITimingCache = common.network(board), common.timing_cache_class(board)

    class IPluginRegistry(Strict):
        __slots__ = ()

        @property
        def all_creators(self) -> list[Any]:
            return creators()

    def get_plugin_registry() -> Any:
        return create(board, IPluginRegistry)

    class IBuilderConfig(Strict):
        __slots__ = ("DLA_core", "_cache", "_flags", "_workspace", "default_device_type", "progress_monitor")

        def set_flag(self, flag: Any) -> None:
            self._flags.append(flag.name)

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
        def num_DLA_cores(self) -> int:
            return board.dla_cores

        def create_network(self, flags: int = 0) -> Any:
            if flags >> 3 or board.refuse == "network":
                board.say(self._logger, (ERROR, "createNetworkV2: unknown flag bits"))
                return None
            return common.new_network(board, INetworkDefinition, False)

        def create_builder_config(self) -> Any:
            made = new_config(board, IBuilderConfig)
            object.__setattr__(made, "progress_monitor", None)
            return made

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            state = network._state
            if not watched(board, self._logger, config.progress_monitor, state["layers"]):
                return None
            plan = board.plan(self._logger, state["model"], settings_of(state, config, 1), None)
            return None if plan is None else host_memory(plan)

    engine = common.tensor_classes(board, {}, asks_for_strategy=True)
    return {
        **shared,
        **engine,
        **common.onnx_parser(board, path=True),
        **common.layers(board, INetworkDefinition, constrained=False, major=11),
        "DataType": enum("DataType", FLOAT=0, HALF=1, INT8=2, INT32=3, BOOL=4, UINT8=5, FP8=6, BF16=7, INT64=8, INT4=9),
        "IPluginRegistry": IPluginRegistry,
        "get_plugin_registry": get_plugin_registry,
        "MemoryPoolType": enum("MemoryPoolType", WORKSPACE=0, DLA_MANAGED_SRAM=1),
        "Builder": Builder,
        "IBuilderConfig": IBuilderConfig,
        "ITimingCache": ITimingCache,
        "IProgressMonitor": IProgressMonitor,
        "BuilderFlag": enum("BuilderFlag", DEBUG=2, GPU_FALLBACK=3, REFIT=4),
        "NetworkDefinitionCreationFlag": enum(
            "NetworkDefinitionCreationFlag", STRONGLY_TYPED=0, PREFER_AOT_PYTHON_PLUGINS=2, PREFER_JIT_PYTHON_PLUGINS=1
        ),
        "INetworkDefinition": INetworkDefinition,
        "Runtime": common.runtime(board, lambda *found: create(board, engine["ICudaEngine"], *found)),
    }
