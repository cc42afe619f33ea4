"""Every way in which TensorRT or CUDA says no: None instead of an object, False, an error code. Each is explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.remote import models
from tests.remote.agent.doubles import ERAS, WITH_UFF, plan_of
from tests.remote.agent.test_tensorrt_backends import MANIFEST, OPTIONS, PIXELS

from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trt import onnx_backend as trt_onnx
from jetlane.remote.agent.trt import uff_backend as trt_uff


class Backend:
    """The backend that boards of an era go: build a model, load a plan."""

    def __init__(self, era: str, folder: Path) -> None:
        self._module: Any = trt_uff if era in WITH_UFF else trt_onnx
        self.model = folder / "model"
        self.model.write_bytes(models.small_model() if era in WITH_UFF else models.heads_model())

    def build(self) -> bytes:
        return plan_of(self._module, self.model, MANIFEST, OPTIONS, lambda note: None)

    def load(self, plan: bytes) -> Any:
        return self._module.load(plan, MANIFEST)


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def board(era: str, put_double: Any) -> Any:
    return put_double(era)


@pytest.fixture
def backend(era: str, board: Any, tmp_path: Path) -> Backend:
    return Backend(era, tmp_path)


BUILDING = {
    "plugins": ("TensorRT's plugins do not load", "backend", ""),
    "builder": ("TensorRT makes no builder", "backend", "factory function returned nullptr"),
    "network": ("TensorRT makes no network", "build", ""),
    "parse": ("parser does not accept the model", "build", ""),
    "memory": ("TensorRT could not build the engine", "build", "out of memory"),
}


@pytest.mark.parametrize("refuse", sorted(BUILDING))
def test_a_build_that_fails_is_explained(refuse: str, board: Any, backend: Backend) -> None:
    what, kind, said = BUILDING[refuse]
    board.refuse = refuse
    with pytest.raises(AgentError, match=what) as caught:
        backend.build()
    assert caught.value.kind == kind and said in caught.value.why


def test_errors_of_the_parser_are_told_and_having_none_is_no_success(era: str, board: Any, backend: Backend) -> None:
    board.refuse = "parse" if era in WITH_UFF else "silence"
    with pytest.raises(AgentError, match="parser does not accept the model"):
        backend.build()
    board.refuse = "parse"
    with pytest.raises(AgentError) as caught:
        backend.build()
    assert ("Unsupported operation _Cast" if era in WITH_UFF else "operator: Bar") in caught.value.why


@pytest.mark.parametrize("era", WITH_UFF, indirect=True)
def test_an_empty_model_is_refused(era: str, backend: Backend) -> None:
    backend.model.write_bytes(b"")
    with pytest.raises(AgentError) as caught:
        backend.build()
    assert "Unsupported number of graph 0" in caught.value.why


def test_a_slow_gpu_is_not_given_fp16(era: str, board: Any, backend: Backend) -> None:
    board.fast_fp16 = False
    if era == "11":
        backend.build()  # no flag is asked any more: the model says how to compute
        return
    with pytest.raises(AgentError, match="not faster in fp16"):
        backend.build()


def test_a_plan_that_does_not_fit_is_built_again(board: Any, backend: Backend) -> None:
    plan = backend.build()
    changes: list[tuple[str, str, str]] = [
        ("version", "9.9.9", "expecting library version 9.9.9"),
        ("gpu", "8.7", "expecting compute 8.7 got compute 5.3"),
    ]
    for name, other, said in changes:
        was = getattr(board, name)
        setattr(board, name, other)
        with pytest.raises(AgentError, match="does not load the engine") as caught:
            backend.load(plan)
        assert caught.value.kind == "engine" and said in caught.value.why and "build it again" in caught.value.remedy
        setattr(board, name, was)
    for damaged in (plan[5:], b""):
        with pytest.raises(AgentError, match="does not load the engine") as caught:
            backend.load(damaged)
        assert "magicTag" in caught.value.why


def test_no_memory_for_running(board: Any, backend: Backend, cudart: Any) -> None:
    plan = backend.build()
    board.refuse = "context"
    with pytest.raises(AgentError, match="no memory for running") as caught:
        backend.load(plan)
    assert caught.value.kind == "memory"
    board.refuse = ""
    cudart.stubFail(2)
    with pytest.raises(
        AgentError, match="cudaMalloc failed with CUDA error 2, cudaErrorMemoryAllocation: out of memory"
    ) as caught:
        backend.load(plan)
    assert caught.value.kind == "cuda" and "workspace_mb" in caught.value.remedy


def test_a_run_that_fails_is_explained_though_it_was_queued(
    era: str, board: Any, backend: Backend, cudart: Any
) -> None:
    engine = backend.load(backend.build())
    try:
        board.refuse = "run"
        with pytest.raises(AgentError, match="did not run the engine"):
            engine.run(PIXELS)
        board.refuse = ""
        cudart.stubFailSync(700)
        with pytest.raises(AgentError, match="CUDA error 700, cudaErrorIllegalAddress") as caught:
            engine.run(PIXELS)
        assert "the process has to end" in caught.value.why
    finally:
        engine.close()


def test_what_cannot_be_freed_hides_no_other_error(board: Any, backend: Backend, cudart: Any) -> None:
    engine = backend.load(backend.build())
    before = cudart.stubAlive()
    cudart.stubFailSync(700)
    cudart.stubFailFree(700)
    try:
        with pytest.raises(AgentError, match="cudaStreamSynchronize failed with CUDA error 700"):
            try:
                engine.run(PIXELS)
            finally:
                engine.close()
        assert cudart.stubAlive() == before - 8, "three pinned buffers, four events and a stream went all the same"
    finally:
        cudart.stubFailFree(0)
        cudart.stubForget()


@pytest.mark.parametrize(
    ("refuse", "what"), [("address", "takes no address for scores, Input, boxes"), ("type", "type DataType.BF16")]
)
@pytest.mark.parametrize("era", ["10.3", "11"], indirect=True)
def test_tensors_that_cannot_be_bound(refuse: str, what: str, board: Any, backend: Backend) -> None:
    plan = backend.build()
    board.refuse = refuse
    with pytest.raises(AgentError, match=what) as caught:
        backend.load(plan)
    assert caught.value.kind == "engine"


def test_what_an_era_has_not_cannot_be_read_or_set(era: str, board: Any) -> None:
    """The doubles themselves: a call of another era fails here as it would on a board."""
    import tensorrt

    log_class = type("Log", (tensorrt.ILogger,), {"log": lambda self, severity, msg: None})
    builder = tensorrt.Builder(log_class())
    absent = {
        "5": ["create_builder_config", "build_engine"], "7": ["build_serialized_network", "fp16"],
        "8.2": ["fp16_mode", "build_cuda_engine"], "8.6": ["max_workspace_size"],
        "10.3": ["build_engine", "max_batch_size"], "11": ["platform_has_fast_fp16", "max_batch_size"],
    }[era]  # fmt: skip
    for name in absent:
        with pytest.raises(AttributeError):
            getattr(builder, name)
        with pytest.raises(AttributeError):
            setattr(builder, name, 1)
    with pytest.raises(TypeError):
        tensorrt.Builder(object())
    network = builder.create_network()
    if era in ("5", "7"):
        with builder:
            pass
        with pytest.raises(RuntimeError, match="was freed"):
            builder.create_network()
    else:
        with pytest.warns(DeprecationWarning, match="Context managers"), network:
            pass
