"""TensorRT-RTX, the one real TensorRT that runs here: the agent's adapter drives it, and the shipped ONNX compiles."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trt import common
from jetlane.remote.agent.trt.eras import era_of
from jetlane.remote.agent.trt.explicit_batch import StronglyTyped
from jetlane.specs.errors import PreflightError
from jetlane.specs.schema import Fleet, Preflight
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.preflight import refuse_missing_builder
from jetlane.tasks.proof.tensorrt_rtx import MODULE, compile_here, compile_model, main, refuse_missing

CAPABILITIES = ("8.6", "8.9")
#: The main architectures, and the least number of layers that their networks have.
MAIN = {
    "ssd_mobilenet_v1": ("trained_F_t215_v1_160_c3", 150),
    "ssd_mobilenet_v2": ("F_t215_v2_300_c90", 200),
    "ssdlite_mobilenet_v2": ("F_t215_lite_v2_224_c6", 200),
    "ssd_inception_v2": ("F_t215_i2_160_c3", 250),
}
OPTIONS = {"precision": "fp32", "batch": 1, "workspace_mb": 64}


@pytest.fixture(scope="module")
def trt() -> Any:
    return pytest.importorskip(MODULE, reason="TensorRT-RTX is not installed: pip install 'jetlane[rtx]'")


@pytest.fixture(scope="module")
def small() -> bytes:
    """Boxes and scores from one convolution: what every main network ends at."""
    rng = np.random.default_rng(1)
    weights = {
        "kernel": rng.normal(size=(28, 3, 4, 4)).astype(np.float32),
        "box_shape": np.array([1, -1, 4], np.int64),
        "score_shape": np.array([1, -1, 3], np.int64),
        "split": np.array([16, 12], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["Input", "kernel"], ["maps"], strides=[4, 4]),
        helper.make_node("Split", ["maps", "split"], ["box_maps", "score_maps"], axis=1),
        helper.make_node("Reshape", ["box_maps", "box_shape"], ["boxes"]),
        helper.make_node("Reshape", ["score_maps", "score_shape"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "small",
        [value("Input", TensorProto.FLOAT, [1, 3, 32, 32])],
        [value("boxes", TensorProto.FLOAT, [1, 256, 4]), value("scores", TensorProto.FLOAT, [1, 256, 3])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def file(small: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.trt.onnx"
    path.write_bytes(small)
    return path


@pytest.mark.parametrize("architecture", MAIN)
def test_the_main_architectures_compile(trt: Any, shared_data: Path, tmp_path: Path, architecture: str) -> None:
    """The bytes that ship, for two compute capabilities, without a GPU; in fp16, all types fit together."""
    name, least = MAIN[architecture]
    folder = shared_data / "graphs" / name
    convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", tmp_path)
    model = tmp_path / "model.trt.onnx"
    report = compile_model(model, CAPABILITIES)
    assert tuple(report.compiled) == CAPABILITIES and report.version == trt.__version__
    for one in report.compiled.values():
        assert one.layers > least and one.engine_bytes > model.stat().st_size and one.seconds > 0
    half = compile_model(tmp_path / "model.trt.fp16.onnx", CAPABILITIES[:1]).compiled["8.6"]
    assert half.layers > least and half.engine_bytes < report.compiled["8.6"].engine_bytes
    said = report.to_json()
    assert said["version"] == trt.__version__ and set(said["8.6"]) == {"layers", "seconds", "engine_bytes"}


def test_a_small_network_compiles(trt: Any, file: Path) -> None:
    assert [one.layers > 4 for one in compile_model(file, CAPABILITIES).compiled.values()] == [True, True]


# The agent's adapter against the real module, in this process.


@pytest.fixture
def prepared(trt: Any, small: bytes) -> Callable[[], Any]:
    """An adapter that has parsed the small network."""

    def make() -> Any:
        log = common.make_log(trt)
        common.start_plugins(trt, log)
        adapter = era_of(trt)(trt, log)
        adapter.parse(small, "onnx", {"name": "Input", "height": 32, "width": 32})
        return adapter

    return make


def build(adapter: Any, timing_cache: bytes | None = None) -> tuple[bytes, list[str]]:
    notes: list[str] = []
    adapter.configure(OPTIONS, None, timing_cache)
    adapter.config.num_compute_capabilities = 1
    assert adapter.config.set_compute_capability(adapter.trt.ComputeCapability.SM86, 0)
    return adapter.build(notes.append), notes


def test_the_adapter_of_the_last_era_parses_configures_and_builds(trt: Any, prepared: Callable[[], Any]) -> None:
    adapter = prepared()
    assert isinstance(adapter, StronglyTyped)
    network = adapter.network
    assert [network.get_input(i).name for i in range(network.num_inputs)] == ["Input"]
    assert {network.get_output(i).name for i in range(network.num_outputs)} == {"boxes", "scores"}
    plan, notes = build(adapter)
    assert len(plan) > 1000 and notes and all(note.startswith("building: ") for note in notes)
    assert adapter.config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20


def test_a_timing_cache_goes_round_and_a_damaged_one_does_no_harm(prepared: Callable[[], Any]) -> None:
    adapter = prepared()
    build(adapter)
    cache = adapter.timing_cache()
    for given in (cache, b"damaged", None):
        assert build(prepared(), given)[0]


def test_what_is_asked_of_the_adapter_in_vain(prepared: Callable[[], Any], trt: Any) -> None:
    with pytest.raises(AgentError, match="calibrates nothing"):
        prepared().configure({**OPTIONS, "precision": "int8"})
    with pytest.raises(AgentError, match="no DLA core 0"):
        prepared().configure({**OPTIONS, "dla_core": 0})
    adapter = era_of(trt)(trt, common.make_log(trt))
    with pytest.raises(AgentError, match="does not accept the model") as caught:
        adapter.parse(b"no onnx", "onnx", {})
    assert "Failed to parse the ONNX model" in caught.value.why


# What goes wrong reaches the person.


def test_a_model_it_does_not_take_is_explained(trt: Any, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(PreflightError, match=r"model\.trt\.onnx: TensorRT's ONNX parser does not accept") as caught:
        compile_model(file, CAPABILITIES)
    assert "MODEL_DESERIALIZE_FAILED" in caught.value.why


def test_nms_which_it_has_not_is_explained(trt: Any, shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "graphs" / MAIN["ssd_mobilenet_v1"][0]
    convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", tmp_path)
    with pytest.raises(PreflightError) as caught:
        compile_model(tmp_path / "model.onnx", ["8.6"])
    assert "TensorRT said" in caught.value.why


def test_a_compute_capability_it_does_not_know(trt: Any, file: Path) -> None:
    with pytest.raises(PreflightError, match=r"does not compile for compute capability 8\.7") as caught:
        compile_model(file, ["8.6", "8.7"])
    assert "8.6, 8.9" in caught.value.why and "compute_capabilities" in caught.value.remedy


def test_without_the_extra_the_remedy_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    asks = SimpleNamespace(spec=SimpleNamespace(preflight=Preflight(tensorrt_rtx=True), fleet=Fleet()))
    refuse_missing_builder(SimpleNamespace(spec=SimpleNamespace(preflight=Preflight(), fleet=Fleet())))
    for attempt in (refuse_missing, lambda: compile_model(file, CAPABILITIES), lambda: refuse_missing_builder(asks)):
        with pytest.raises(PreflightError, match="TensorRT-RTX is not installed") as caught:
            attempt()
        assert "pip install 'jetlane[rtx]'" in caught.value.remedy


def test_a_builder_that_crashes_takes_nothing_with_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = "print('last words', file=sys.stderr, flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)\n"
    (tmp_path / f"{MODULE}.py").write_text(f"import os, signal, sys\n{crash}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PreflightError, match="TensorRT-RTX ended with SIGSEGV") as caught:
        compile_model(file, CAPABILITIES)
    assert "last words" in caught.value.why


def test_the_child_answers_with_its_last_line(
    trt: Any, file: Path, capfd: pytest.CaptureFixture[str], small: bytes
) -> None:
    assert main([str(file), "8.6"]) == 0
    here = compile_here(trt, small, "8.6")
    assert f'"engine_bytes": {here.engine_bytes}' in capfd.readouterr().out.splitlines()[-1]
    assert asdict(here)["layers"] == here.layers
