"""The TensorRT backends against doubles of six versions, one per era and per change that matters.

A double's "engine" is the model itself (an ONNX file), run by onnxruntime on the addresses it is given; memory and
copies go through a stub of CUDA's runtime library. So parsing, configuring, buffers, reading by name and NMS run for
real; TensorRT itself does not. ``test_real_bindings`` holds the doubles to NVIDIA's own modules.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.remote import models
from tests.remote.agent.doubles import WITH_ONNX, WITH_UFF, plan_of

from jetlane.remote.agent.builder_caches import Caches
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.errors import AgentError
from jetlane.remote.agent.trt import (
    common as trt,
)
from jetlane.remote.agent.trt import (
    cuda,
    nms_plugin,
)
from jetlane.remote.agent.trt import (
    onnx_backend as trt_onnx,
)
from jetlane.remote.agent.trt import (
    progress as trt_progress,
)
from jetlane.remote.agent.trt import (
    uff_backend as trt_uff,
)
from jetlane.remote.agent.trt.eras import era_of
from jetlane.tasks.converter.ssd.params import InputSpec

OPTIONS: dict[str, Any] = {
    "precision": "fp16", "batch": 1, "workspace_mb": 64, "dla_core": None, "timing_cache": True,
}  # fmt: skip
PIXELS = np.random.default_rng(3).uniform(-1, 1, (3, 32, 32)).astype(np.float32)
NMS = {
    "confidence_threshold": 0.5, "nms_threshold": 0.6, "top_k": 10, "keep_top_k": 8, "background_label_id": 0,
    "is_normalized": True,
}  # fmt: skip
MANIFEST: dict[str, Any] = {"input": asdict(InputSpec(32, 32)), "nms": NMS}
#: Those that can have NMSDynamic_TRT.
WITH_PLUGIN = ("8.2", "8.6", "10.3")
NAMES = {
    "5": "builder attributes", "7": "builder config", "8.2": "serialized network", "8.6": "serialized network",
    "10.3": "explicit batch", "11": "strongly typed",
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Any:
    """Paths of the model for either backend."""

    def path(backend: str) -> str:
        file = tmp_path / f"model.{backend}"
        file.write_bytes(models.small_model() if backend == "uff" else models.heads_model())
        return str(file)

    return path


@pytest.mark.parametrize("era", WITH_UFF)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_uff_backend_builds_and_runs(era: str, precision: str, put_double: Any, model: Any) -> None:
    board = put_double(era)
    notes: list[str] = []
    plan = plan_of(trt_uff, model("uff"), MANIFEST, {**OPTIONS, "precision": precision, "batch": 2}, notes.append)
    calls = {"5": "build_cuda_engine", "7": "build_engine"}
    assert board.built["call"] == calls.get(era, "build_serialized_network")
    assert (board.built["workspace"], board.built["batch"]) == (64 << 20, 2)
    assert board.built["flags"] == (["FP16"] if precision == "fp16" else []) and board.built["dla"] is None
    assert any("parsing" in note for note in notes) and any("% of the layers, at mean" in note for note in notes)
    engine = trt_uff.load(plan, MANIFEST)
    wanted = board.compute(models.small_model(), PIXELS[None])
    for _ in range(2):
        rows, count = engine.run(PIXELS)
        np.testing.assert_array_equal(rows, wanted["NMS"][0, 0])
        assert count == int(wanted["NMS_1"].reshape(())), "the count's bits are an int32 in a float tensor"
    # one copy there and two back take 1 ms each in the stub, and every event 0.5 ms
    assert engine.times == {"copy": 4.0, "execute": 0.5}
    engine.close()
    assert not board.aborted


@pytest.mark.parametrize("era", WITH_ONNX)
def test_the_onnx_backend_builds_and_runs_with_nms_in_numpy(era: str, put_double: Any, model: Any) -> None:
    board = put_double(era)
    notes: list[str] = []
    plan = plan_of(trt_onnx, model("onnx"), MANIFEST, OPTIONS, notes.append)
    assert board.built["workspace"] == 64 << 20 and not board.built["implicit"]
    exact = [] if era == "11" else ["mean", "shift", "boxes", "scores"]
    assert board.built["flags"] == (["FP16", "PREFER_PRECISION_CONSTRAINTS"] if exact else [])
    assert sorted(board.built["exact"]) == sorted(exact), "what follows the last convolution stays fp32"
    assert any(note.startswith("building: ") for note in notes)
    engine = trt_onnx.load(plan, MANIFEST)
    rows, count = engine.run(PIXELS)
    assert engine.times["execute"] == 0.5 and engine.times["nms"] > 0
    engine.close()
    outputs = board.compute(models.heads_model(), PIXELS[None])
    best = outputs["scores"][0, :, 1:].max()
    assert 0 < count < 8 and rows[0, 2] == best and (rows[:count, 1] >= 1).all() and (rows[count:, 1] == -1).all()


@pytest.mark.parametrize("clip_before", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("era", WITH_PLUGIN)
def test_the_onnx_backend_suppresses_in_the_engine(
    era: str, precision: str, clip_before: bool, put_double: Any, model: Any
) -> None:
    board = put_double(era)
    board.plugins.append(nms_plugin.PLUGIN)
    manifest = {**MANIFEST, "nms": {**NMS, "clip_before": clip_before}}
    notes: list[str] = []
    plan = plan_of(trt_onnx, model("onnx"), manifest, {**OPTIONS, "precision": precision}, notes.append)
    assert board.built["outputs"] == ["NMS", "NMS_1"] and any(nms_plugin.PLUGIN in note for note in notes)
    engine = trt_onnx.load(plan, manifest)
    rows, count = engine.run(PIXELS)
    assert engine.times == {"copy": 4.0, "execute": 0.5}, "nothing is left for the CPU"
    engine.close()
    outputs = board.compute(models.heads_model(), PIXELS[None])
    wanted, number = suppress(outputs["boxes"][0], outputs["scores"][0], manifest["nms"])
    np.testing.assert_array_equal(rows, wanted)
    assert 0 < count == number < 8


@pytest.mark.parametrize(
    ("era", "plugins", "nms"), [("8.6", True, "host"), ("10.3", False, "auto"), ("11", True, "auto")]
)
def test_the_onnx_backend_suppresses_in_numpy_where_it_is_asked_to_or_the_plugin_is_missing(
    era: str, plugins: bool, nms: str, put_double: Any, model: Any
) -> None:
    board = put_double(era)
    board.plugins += [nms_plugin.PLUGIN] * plugins
    options = {**OPTIONS, "precision": "fp32", "nms": nms}
    engine = trt_onnx.load(plan_of(trt_onnx, model("onnx"), MANIFEST, options, lambda note: None), MANIFEST)
    engine.run(PIXELS)
    assert board.built["outputs"] == ["boxes", "scores"] and engine.times["nms"] > 0
    engine.close()


@pytest.mark.parametrize("era", sorted(NAMES))
def test_eras_are_told_by_their_features(era: str, put_double: Any) -> None:
    put_double(era)
    assert era_of(trt.tensorrt()).name == NAMES[era]


@pytest.mark.parametrize(("era", "backend"), [("8.2", "uff"), ("8.6", "uff"), ("10.3", "onnx"), ("11", "onnx")])
def test_a_timing_cache_is_kept_and_a_bad_one_ignored(
    era: str, backend: str, put_double: Any, model: Any, tmp_path: Path
) -> None:
    board = put_double(era)
    module = {"uff": trt_uff, "onnx": trt_onnx}[backend]
    caches = Caches(str(tmp_path / "caches"), {"runtime": {"tensorrt": era}, "precision": "fp16"})

    def cache_of_build(options: dict[str, Any] = OPTIONS) -> str:
        plan_of(module, model(backend), MANIFEST, options, lambda note: None, caches=caches)
        return board.built["cache"]

    assert cache_of_build() == ""
    assert cache_of_build() == f"timing of {board.version}: ", "the second build starts from the first one's"
    (file,) = (tmp_path / "caches").iterdir()
    for damaged in (b"", file.read_bytes()[:-1], b"anything"):
        file.write_bytes(damaged)
        assert cache_of_build() == "", "a file that was damaged is no cache"
    caches.keep_timing(b"of another version")
    assert cache_of_build() == "", "TensorRT says what is not its own"
    file.unlink()
    assert cache_of_build({**OPTIONS, "timing_cache": False}) == "" and not file.exists()
    board.refuse = "timing cache"
    assert cache_of_build() is None and not file.exists()


@pytest.mark.parametrize(
    ("era", "backend"), [("5", "uff"), ("7", "uff"), ("8.6", "uff"), ("10.3", "onnx"), ("11", "onnx")]
)
def test_a_dla_core_is_used_or_refused(era: str, backend: str, put_double: Any, model: Any) -> None:
    board = put_double(era)
    module = {"uff": trt_uff, "onnx": trt_onnx}[backend]
    options = {**OPTIONS, "dla_core": 1}
    with pytest.raises(AgentError, match="has no DLA core 1") as caught:
        plan_of(module, model(backend), MANIFEST, options, lambda note: None)
    assert caught.value.kind == "backend" and "counts 0" in caught.value.why
    board.dla_cores = 2
    plan = plan_of(module, model(backend), MANIFEST, options, lambda note: None)
    assert board.built["dla"] == 1 and (era == "5" or "GPU_FALLBACK" in board.built["flags"])
    module.load(plan, MANIFEST, options).close()
    assert ("Runtime", "DLA_core", "set") in board.uses


def test_flattenconcat_is_needed_only_by_files_that_name_it(put_double: Any, model: Any) -> None:
    board = put_double("5")
    board.plugins.remove("FlattenConcat_TRT")
    path = model("uff")
    trt_uff.load(plan_of(trt_uff, path, MANIFEST, OPTIONS, lambda note: None), MANIFEST).close()

    def of_an_earlier_converter(name: str) -> bytes:
        return Path(name).read_bytes() + b"_FlattenConcat_TRT"

    with pytest.raises(AgentError, match="lacks the plugins FlattenConcat_TRT") as caught:
        plan_of(trt_uff, path, MANIFEST, OPTIONS, lambda note: None, read=of_an_earlier_converter)
    assert caught.value.kind == "backend"


def test_the_log_keeps_the_latest_lines_and_never_raises(put_double: Any, capsys: pytest.CaptureFixture) -> None:
    put_double("8.2")
    log = trt.make_log(trt.tensorrt())
    for number in range(5000):
        log.log(2, f"line {number}")
    log.log(4, "verbose")
    log.listener = lambda text: 1 // 0
    log.log(1, "heard by nobody")
    log.log(None, "of no severity")
    assert len(log.rows) == 4000 and log.rows[-1] == (1, "heard by nobody")
    assert trt.last_words(log).count("\n") == 20
    assert "[TensorRT] W: line 4999" in capsys.readouterr().err


def test_progress_is_read_from_what_tensorrt_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_progress, "EVERY", 0.0)
    said: list[str] = []
    lines = trt_progress.Lines(said.append, 4)
    lines("--------------- Timing module/slice3/conv3/Conv2D(14)")
    lines("Tactic 313790760974845026 time 8.02246")
    lines("--------------- Timing Runner: conv8 + relu8 (FusedConvActConvolution)")
    lines("--------------- Timing Runner: conv8 + relu8 (CaskConvolution)")
    assert said == [
        "building: about 24% of the layers, at module/slice3/conv3/Conv2D",
        "building: about 74% of the layers, at conv8 + relu8",
        "building: about 74% of the layers, at conv8 + relu8",
    ]
    lines = trt_progress.Lines(lambda note: 1 // 0, 4)  # type: ignore[arg-type,return-value]
    lines("--------------- Timing a(14)")  # the listener is gone: the build goes on


def test_cuda_facts_and_their_absence(cudart: Any) -> None:
    facts = cuda.Cuda().facts()
    assert facts["compute_capability"] == "5.3" and facts["runtime"] == 10020
    with pytest.raises(AgentError, match="is not on this board"):
        cuda.Cuda("/nowhere/libcudart.so")
