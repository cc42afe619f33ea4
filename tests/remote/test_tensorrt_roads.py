"""The TensorRT roads against doubles that have the calls of one era and no others.

A double's "engine" is the model itself (an ONNX file), run by onnxruntime on the addresses it is given; memory and
copies go through a stub of CUDA's runtime library, compiled here. So parsing, configuring, buffers, reading by name and
NMS run for real; TensorRT itself does not.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent import cuda, trt_onnx, trt_uff
from jetlane.remote.agent.errors import AgentError

OPTIONS = {"precision": "fp16", "batch": 1, "workspace_mb": 64}
PIXELS = np.random.default_rng(3).uniform(-1, 1, (3, 32, 32)).astype(np.float32)
NMS = {
    "confidence_threshold": 0.5, "nms_threshold": 0.6, "top_k": 10, "keep_top_k": 8, "background_label_id": 0,
    "is_normalized": True,
}  # fmt: skip


class Kind:
    """An enum value as pybind makes it: a name, and int() of it."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self._value = name, value

    def __int__(self) -> int:
        return self._value


FLOAT, INT32 = Kind("FLOAT", 0), Kind("INT32", 3)


class Memory:
    """IHostMemory: a buffer without a length."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data


class Double:
    """A tensorrt module.

    Args:
        uff: Implicit batch, UffParser, binding API; else explicit batch, OnnxParser, tensor API.
        serialized: ``build_serialized_network`` is there (8.0 on).
        config: Builder configs are there (6 on).
    """

    def __init__(self, uff: bool, serialized: bool, config: bool) -> None:
        double = self
        self.__version__ = "double"
        self.said: list[tuple[int, str]] = []
        self.calls: list[str] = []
        self.refuse = ""
        self.ILogger = type("ILogger", (), {"__init__": lambda self: None})
        self.BuilderFlag = SimpleNamespace(FP16=Kind("FP16", 0))
        self.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=Kind("EXPLICIT_BATCH", 0))
        self.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
        self.TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
        self.plugins = ["GridAnchor_TRT", "NMS_TRT", "FlattenConcat_TRT"]
        self.get_plugin_registry = lambda: SimpleNamespace(
            plugin_creator_list=[SimpleNamespace(name=name) for name in double.plugins]
        )

        class Config:
            __slots__ = ("max_workspace_size",) if uff else ()

            def set_flag(self, flag: Any) -> None:
                double.calls.append(f"flag {flag.name}")

            if not uff:

                def set_memory_pool_limit(self, pool: str, size: int) -> None:
                    double.calls.append(f"{pool} {size >> 20}")

        class Network:
            model = b""

        class Builder:
            __slots__ = ("_log", "fp16_mode", "max_batch_size", "max_workspace_size") if uff else ("_log",)
            platform_has_fast_fp16 = True

            def __init__(self, log: Any) -> None:
                self._log = log
                log.log(Kind("ERROR", 1), "Could not register plugin creator: harmless")

            def create_network(self, flags: int = 0) -> Network:
                assert flags == 0, "this era has one kind of network"
                return Network()

            if config:

                def create_builder_config(self) -> Config:
                    return Config()

            def _build(self, network: Network) -> Any:
                if double.refuse == "build":
                    self._log.log(Kind("ERROR", 1), "Could not find any implementation for node x")
                    return None
                return Memory(network.model)

            if serialized:

                def build_serialized_network(self, network: Network, config: Config) -> Any:
                    double.calls.append("build_serialized_network")
                    return self._build(network)
            elif config:

                def build_engine(self, network: Network, config: Config) -> Any:
                    double.calls.append(f"build_engine {config.max_workspace_size >> 20}")  # type: ignore[attr-defined]
                    memory = self._build(network)
                    return memory and SimpleNamespace(serialize=lambda: memory)
            else:

                def build_cuda_engine(self, network: Network) -> Any:
                    double.calls.append(f"build_cuda_engine {self.max_workspace_size >> 20} {self.fp16_mode}")  # type: ignore[attr-defined]
                    memory = self._build(network)
                    return memory and SimpleNamespace(serialize=lambda: memory)

        self.Builder = Builder
        if uff:

            class UffParser:
                def register_input(self, name: str, shape: tuple) -> bool:
                    return name == "Input" and shape == (3, 32, 32)

                def register_output(self, name: str) -> bool:
                    return name == "MarkOutput_0"

                def parse_buffer(self, content: bytes, network: Network) -> bool:
                    network.model = content
                    return double.refuse != "parse"

            self.UffParser = UffParser
        else:

            class OnnxParser:
                num_errors = 1

                def __init__(self, network: Network, log: Any) -> None:
                    self._network = network

                def parse(self, content: bytes) -> bool:
                    self._network.model = content
                    return double.refuse != "parse"

                def get_error(self, index: int) -> str:
                    return "In node 3 (importX): unsupported"

            self.OnnxParser = OnnxParser
        engine = BindingEngine if uff else TensorEngine
        self.Runtime = lambda log: SimpleNamespace(
            deserialize_cuda_engine=lambda plan: None if double.refuse == "load" else engine(plan)
        )

    def init_libnvinfer_plugins(self, log: Any, namespace: str) -> bool:
        return True


def _memory(address: int, shape: tuple, kind: Any) -> np.ndarray:
    assert type(address) is int and address > 0
    size = int(np.prod(shape)) * 4
    return np.frombuffer((ctypes.c_uint8 * size).from_address(address), kind).reshape(shape)


def _run(model: bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"Input": np.array(pixels)})))


class BindingEngine:
    """Implicit batch; NMS_1 comes before NMS, as a UFF may have it, and holds its int32 count in a float tensor."""

    max_batch_size = 1
    has_implicit_batch_dimension = True
    num_bindings = 3

    def __init__(self, plan: bytes) -> None:
        self._plan = plan
        self._rows = [("Input", (3, 32, 32)), ("NMS_1", (1, 1, 1)), ("NMS", (1, 8, 7))]

    def get_binding_name(self, index: int) -> str:
        return self._rows[index][0]

    def get_binding_shape(self, index: int) -> tuple:
        return self._rows[index][1]

    def get_binding_dtype(self, index: int) -> Kind:
        return FLOAT

    def binding_is_input(self, index: int) -> bool:
        return index == 0

    def create_execution_context(self) -> Any:
        return SimpleNamespace(execute_async=self._execute)

    def _execute(self, batch_size: int, bindings: list, stream_handle: int) -> bool:
        outputs = _run(self._plan, _memory(bindings[0], (1, 3, 32, 32), np.float32))
        _memory(bindings[1], (1, 1, 1, 1), np.int32)[:] = outputs["NMS_1"]
        _memory(bindings[2], (1, 1, 8, 7), np.float32)[:] = outputs["NMS"]
        return batch_size == 1


class TensorEngine:
    """Explicit batch, the tensor API alone."""

    num_io_tensors = 3

    def __init__(self, plan: bytes) -> None:
        self._plan = plan
        self._rows = {"scores": (1, 10, 4), "Input": (1, 3, 32, 32), "boxes": (1, 10, 4)}
        self._addresses: dict[str, int] = {}

    def get_tensor_name(self, index: int) -> str:
        return list(self._rows)[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "Input" else "out"

    def get_tensor_shape(self, name: str) -> tuple:
        return self._rows[name]

    def get_tensor_dtype(self, name: str) -> Kind:
        return FLOAT

    def create_execution_context(self) -> Any:
        return SimpleNamespace(set_tensor_address=self._set, execute_async_v3=self._execute)

    def _set(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._rows

    def _execute(self, stream: int) -> bool:
        outputs = _run(self._plan, _memory(self._addresses["Input"], (1, 3, 32, 32), np.float32))
        for name in ("boxes", "scores"):
            _memory(self._addresses[name], self._rows[name], np.float32)[:] = outputs[name]
        return set(self._addresses) == set(self._rows)


@pytest.fixture(scope="session")
def cudart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub of CUDA's runtime library")
    library = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    source = Path(__file__).with_name("cudart_stub.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture
def install(cudart: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a double in TensorRT's place."""
    monkeypatch.setattr(cuda, "_SONAMES", (str(cudart),))

    def put(double: Double) -> Double:
        monkeypatch.setitem(sys.modules, "tensorrt", double)  # type: ignore[arg-type]
        return double

    yield put


ERAS = {
    "5": (Double(True, False, False), "build_cuda_engine 64 True"),
    "7": (Double(True, False, True), "build_engine 64"),
    "8.2": (Double(True, True, True), "build_serialized_network"),
}


@pytest.mark.parametrize("era", sorted(ERAS))
def test_the_uff_road_builds_and_runs(era: str, install: Any, models: Any, tmp_path: Path) -> None:
    double, built = ERAS[era]
    install(double)
    model = tmp_path / "model.uff"
    model.write_bytes(models.small_model())
    notes: list[str] = []
    manifest = {"input": {"name": "Input", "height": 32, "width": 32}}
    plan = trt_uff.build(str(model), manifest, OPTIONS, notes.append)
    assert built in double.calls and any("parsing" in note for note in notes)
    assert era == "5" or "flag FP16" in double.calls
    engine = trt_uff.load(plan, manifest)
    wanted = _run(models.small_model(), PIXELS[None])
    for _ in range(2):
        rows, count = engine.run(PIXELS)
        np.testing.assert_array_equal(rows, wanted["NMS"][0, 0])
        assert count == int(wanted["NMS_1"].reshape(()))
    engine.close()


def test_the_onnx_road_builds_and_runs_with_nms_in_numpy(install: Any, models: Any, tmp_path: Path) -> None:
    double = install(Double(False, True, True))
    model = tmp_path / "model.trt.onnx"
    model.write_bytes(models.heads_model())
    plan = trt_onnx.build(str(model), {"nms": NMS}, OPTIONS, lambda note: None)
    assert {"workspace 64", "flag FP16", "build_serialized_network"} <= set(double.calls)
    engine = trt_onnx.load(plan, {"nms": NMS})
    rows, count = engine.run(PIXELS)
    engine.close()
    outputs = _run(models.heads_model(), PIXELS[None])
    best = outputs["scores"][0, :, 1:].max()
    assert 0 < count < 8 and rows[0, 2] == best and (rows[:count, 1] >= 1).all() and (rows[count:, 1] == -1).all()


@pytest.mark.parametrize(
    ("refuse", "message", "said"),
    [
        ("parse", "UFF parser does not accept the model", "harmless"),
        ("build", "TensorRT could not build the engine", "Could not find any implementation"),
    ],
)
def test_none_of_tensorrt_is_never_used(
    refuse: str, message: str, said: str, install: Any, models: Any, tmp_path: Path
) -> None:
    double = install(Double(True, True, True))
    double.refuse = refuse
    model = tmp_path / "model.uff"
    model.write_bytes(models.small_model())
    with pytest.raises(AgentError, match=message) as caught:
        trt_uff.build(str(model), {"input": {"height": 32, "width": 32}}, OPTIONS, lambda note: None)
    assert said in caught.value.why and caught.value.kind == "build"


def test_failures_of_parser_plan_plugins_and_memory_are_explained(
    install: Any, models: Any, tmp_path: Path, cudart: Path
) -> None:
    model = tmp_path / "model"
    model.write_bytes(models.heads_model())
    double = install(Double(False, True, True))
    double.refuse = "parse"
    with pytest.raises(AgentError, match="ONNX parser does not accept") as caught:
        trt_onnx.build(str(model), {"nms": NMS}, OPTIONS, lambda note: None)
    assert "In node 3" in caught.value.why
    double.refuse = "load"
    with pytest.raises(AgentError, match="does not load the engine it built"):
        trt_onnx.load(b"plan", {"nms": NMS})
    double = install(Double(True, True, True))
    double.plugins.remove("FlattenConcat_TRT")
    with pytest.raises(AgentError, match="lacks the plugins FlattenConcat_TRT"):
        trt_uff.build(str(model), {"input": {"height": 32, "width": 32}}, OPTIONS, lambda note: None)
    ctypes.CDLL(str(cudart)).stubFail(2)
    with pytest.raises(AgentError, match="cudaMalloc failed with CUDA error 2: out of memory") as caught:
        trt_uff.load(models.small_model(), {})
    assert "workspace_mb" in caught.value.remedy


def test_cuda_facts_and_their_absence(cudart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = cuda.Cuda(str(cudart)).facts()
    assert facts["compute_capability"] == "5.3" and facts["runtime"] == 10020
    with pytest.raises(AgentError, match="is not on this board"):
        cuda.Cuda("/nowhere/libcudart.so")
