"""TensorRT 8: 8.2 of JetPack 4.6, and 8.6 of JetPack 6.0, the last with UFF.

8.2 has bindings alone and the config's workspace; 8.6 names tensors, has memory pools, and warns of what is going.
"""

from __future__ import annotations

from typing import Any

from tests.remote.agent.doubles import common
from tests.remote.agent.doubles.board import ERROR, WARNING, Board, timing_lines
from tests.remote.agent.doubles.era7 import ask
from tests.remote.agent.doubles.pybind import Strict, create, enum, host_memory, outdated

VERSION_8_2, VERSION_8_6 = "8.2.1.8", "8.6.2.3"


def names_8_2(board: Board) -> dict[str, Any]:
    return _names(board, late=False)


def names_8_6(board: Board) -> dict[str, Any]:
    return _names(board, late=True)


def _names(board: Board, late: bool) -> dict[str, Any]:
    shared = common.basics(board)
    INetworkDefinition, ITimingCache = common.network(board), common.timing_cache_class(board)

    class IBuilderConfig(Strict):
        __slots__ = ("DLA_core", "_cache", "_flags", "_workspace", "default_device_type", "int8_calibrator")

        def set_flag(self, flag: Any) -> None:
            self._flags.append(flag.name)

        @property
        def max_workspace_size(self) -> int:
            return self._workspace

        @max_workspace_size.setter
        def max_workspace_size(self, size: int) -> None:
            if late:
                outdated("set_memory_pool_limit")
            self._workspace = size

        if late:

            def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
                assert pool.name == "WORKSPACE"
                self._workspace = pool_size

        def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
            return _timing_cache(board, ITimingCache, serialized_timing_cache)

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            self._cache = cache
            return not (board.refuse == "old timings" and cache._content)

        def get_timing_cache(self) -> Any:
            return self._cache

    class Builder(Strict):
        __slots__ = ("_batch", "_logger")

        def __init__(self, logger: Any) -> None:
            object.__setattr__(self, "_board", board)
            object.__setattr__(self, "_freed", False)
            common.check_logger(logger)
            if board.refuse == "builder":
                raise TypeError("tensorrt.tensorrt.Builder: factory function returned nullptr")
            self._logger = board.logger = logger
            self._batch = 1

        @property
        def max_batch_size(self) -> int:
            return self._batch

        @max_batch_size.setter
        def max_batch_size(self, size: int) -> None:
            if late:
                outdated("network created with explicit batch")
            self._batch = size

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
            return new_config(board, IBuilderConfig)

        def build_engine(self, network: Any, config: Any) -> Any:
            outdated("build_serialized_network")
            raise AssertionError("deprecated since 8.0, and not needed")

        def build_serialized_network(self, network: Any, config: Any) -> Any:
            state = network._state
            board.say(self._logger, *timing_lines(state["layers"], runner=True))
            plan = board.plan(
                self._logger, state["model"], settings_of(state, config, self._batch), config.int8_calibrator
            )
            return None if plan is None else host_memory(plan)

    engine = common.binding_classes(board, warns=late, explicit=True, speaks_of_batch=True)
    if late:
        engine.update(common.tensor_classes(board, engine, asks_for_strategy=False))
    return {
        **shared,
        **common.old_registry(board, shared["_creators"]),
        **engine,
        **common.onnx_parser(board, path=True),
        **common.layers(board, INetworkDefinition, constrained=True, major=8),
        **({"MemoryPoolType": enum("MemoryPoolType", WORKSPACE=0, DLA_MANAGED_SRAM=1)} if late else {}),
        "Builder": Builder,
        "IBuilderConfig": IBuilderConfig,
        "ITimingCache": ITimingCache,
        "BuilderFlag": enum(
            "BuilderFlag",
            FP16=0,
            INT8=1,
            DEBUG=2,
            GPU_FALLBACK=3,
            STRICT_TYPES=4,
            REFIT=5,
            PREFER_PRECISION_CONSTRAINTS=11,
        ),
        "NetworkDefinitionCreationFlag": enum("NetworkDefinitionCreationFlag", EXPLICIT_BATCH=0, EXPLICIT_PRECISION=1),
        "INetworkDefinition": INetworkDefinition,
        "UffParser": common.uff_parser(board),
        "IInt8EntropyCalibrator": common.calibrator(board, "IInt8EntropyCalibrator", ask),
        "IInt8EntropyCalibrator2": common.calibrator(board, "IInt8EntropyCalibrator2", ask),
        "Runtime": common.runtime(board, lambda *found: create(board, engine["ICudaEngine"], *found)),
    }


def new_config(board: Board, kind: Any) -> Any:
    """Workspace: nothing up to 8.3, all of the memory since 8.4; set it."""
    made = create(board, kind)
    defaults = {"_cache": None, "_flags": [], "_workspace": 0, "default_device_type": None, "int8_calibrator": None}
    for name, value in defaults.items():
        if name in kind.__slots__:
            object.__setattr__(made, name, value)
    return made


def settings_of(state: dict[str, Any], config: Any, batch: int) -> dict[str, Any]:
    """What a build was asked for, for the test to look at and for the plan."""
    cache = config._cache
    return {
        "outputs": state["outputs"], "implicit": state["implicit"], "batch": batch, "flags": config._flags,
        "exact": state["exact"], "workspace": config._workspace, "call": "build_serialized_network",
        "dla": config.DLA_core if config.default_device_type else None,
        "cache": None if cache is None else cache._content.decode(), "plugin": state["plugin"],
    }  # fmt: skip


def _timing_cache(board: Board, kind: Any, content: bytes) -> Any:
    """A bad one gives an empty one and a warning; None where there is no memory."""
    if board.refuse == "timing cache":
        return None
    whole = not content or content.startswith(b"timing of " + board.version.encode())
    if not whole:
        text = "Failed to deserialize timing cache. Returning an empty timing cache."
        board.say(board.logger, (WARNING, text))
    if board.refuse == "old timings" and content:  # 8.6.1 says so, and uses it
        board.say(board.logger, (ERROR, "The timing cache will not be used!"))
    return create(board, kind, bytes(content) if whole else b"")
