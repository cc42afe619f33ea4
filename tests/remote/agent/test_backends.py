"""Which backend a board uses for a release, what is refused before anything is sent: pure, from the probe's facts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jetlane.remote.agent import backends, recipes
from jetlane.remote.agent.errors import AgentError

EVERY = {"uff": "model.uff", "onnx": "model.trt.onnx", "onnx_fp16": "model.trt.fp16.onnx", "cpu": "model.onnx"}
PLAIN = {backend: file for backend, file in EVERY.items() if backend != "onnx_fp16"}
QUANTIZED = {**PLAIN, "onnx_int8": "model.trt.int8.onnx"}


def board(era: str, capability: str, fast_int8: Any, dla: Any) -> dict[str, Any]:
    """Facts of a board with TensorRT."""
    tensorrt = {
        "version": era, "uff": era[0] in "5678", "onnx": era[0] in "81", "fp16_flag": era not in ("5", "11"),
        "int8": era != "11", "fast_fp16": True, "fast_int8": fast_int8, "dla_cores": dla, "era": era,
    }  # fmt: skip
    return {"numpy": "1", "tensorrt": tensorrt, "cuda": {"compute_capability": capability, "runtime": 10020}}


NANO_5, NANO_8 = board("5", "5.3", False, 0), board("8.2", "5.3", False, 0)
XAVIER, ORIN = board("8.5", "7.2", True, 2), board("10.3", "8.7", True, 2)
THOR, NEXT = board("10.13", "11.0", True, 0), board("11", "8.7", None, 2)
VIRTUAL = {"numpy": "1", "onnxruntime": "1.17", "tensorrt": None, "cuda": None}


def manifest(offered: dict[str, str], calibration: bool = True) -> dict[str, Any]:
    return {"backends": offered, **({"calibration": ["calibration/000.npy"]} if calibration else {})}


@pytest.mark.parametrize(
    ("facts", "options", "offered", "backend"),
    [
        (NANO_5, {"precision": "fp16"}, EVERY, "uff"),
        (NANO_8, {"precision": "fp16", "batch": 4}, EVERY, "uff"),
        (NANO_8, {}, {"onnx": "model.trt.onnx"}, "onnx"),
        (XAVIER, {"precision": "int8", "dla_core": 1}, EVERY, "uff"),
        (ORIN, {"precision": "fp16"}, EVERY, "onnx"),
        (ORIN, {"precision": "int8"}, PLAIN, "onnx"),
        (ORIN, {"precision": "int8"}, QUANTIZED, "onnx_int8"),
        (ORIN, {"precision": "int8", "dla_core": 0}, QUANTIZED, "onnx"),
        (ORIN, {"precision": "fp16"}, QUANTIZED, "onnx"),
        (XAVIER, {"precision": "int8"}, QUANTIZED, "uff"),
        (NEXT, {"precision": "int8"}, QUANTIZED, "onnx_int8"),
        (NEXT, {"precision": "fp16", "dla_core": 0}, EVERY, "onnx_fp16"),
        (NEXT, {"precision": "fp32"}, PLAIN, "onnx"),
        (VIRTUAL, {}, EVERY, "cpu"),
    ],
)
def test_the_best_backend_that_fits(facts: Any, options: dict[str, Any], offered: dict[str, str], backend: str) -> None:
    assert backends.choose_backend(facts, manifest(offered), options) == backend


@pytest.mark.parametrize(
    ("facts", "options", "given", "words"),
    [
        (NANO_5, {"precision": "int8"}, manifest(EVERY), r"int8 .*compute capability 5\.3.* fp16 or fp32"),
        (NANO_8, {"precision": "int8"}, manifest(EVERY), r"int8 .*compute capability 5\.3"),
        (XAVIER, {"precision": "int8"}, manifest(EVERY, calibration=False), "carries no calibration images"),
        (NEXT, {"precision": "int8"}, manifest(EVERY), "from TensorRT 11 on int8 is a property of the model"),
        (NEXT, {"precision": "int8", "dla_core": 0}, manifest(QUANTIZED), "there is no calibration on the board"),
        (NEXT, {"precision": "fp16"}, manifest(PLAIN), "this release has none in fp16.* build.precision to fp32"),
        (VIRTUAL, {"precision": "fp16"}, manifest(EVERY), "onnxruntime runs fp32.* to fp32"),
        (VIRTUAL, {"precision": "int8"}, manifest(EVERY), "onnxruntime runs fp32.* to fp32"),
        (ORIN, {"precision": "int4"}, manifest(EVERY), "use one of fp32, fp16, int8"),
        (ORIN, {"batch": 4}, manifest(EVERY), "batch of 4 .* one image.*max_batch to 1"),
        (NANO_8, {"precision": "fp16", "dla_core": 0}, manifest(EVERY), "DLA core 0 .* has no DLA"),
        (THOR, {"precision": "fp16", "dla_core": 0}, manifest(EVERY), "DLA core 0 .* has no DLA"),
        (ORIN, {"precision": "fp16", "dla_core": 2}, manifest(EVERY), "DLA cores 0 to 1"),
        (ORIN, {"precision": "fp32", "dla_core": 0}, manifest(EVERY), "fp16 and int8 alone.*precision to fp16"),
        (VIRTUAL, {"dla_core": 0}, manifest(EVERY), "onnxruntime runs on the CPU"),
        (ORIN, {}, manifest({"uff": "model.uff"}), "no backend fits"),
        ({"numpy": None, "tensorrt": ORIN["tensorrt"], "python": "3.6"}, {}, manifest(EVERY), "has no numpy"),
    ],
)  # fmt: skip
def test_what_a_board_cannot_do_is_refused_with_a_reason(
    facts: Any, options: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(AgentError) as caught:
        backends.choose_backend(facts, given, options)
    error = caught.value
    assert error.kind == "backend"
    text = " ".join([error.what, error.why, error.remedy])
    assert re.search(words, text), text


def test_a_precision_whose_support_is_unknown_is_not_refused_here() -> None:
    """An Orin whose builder did not answer: the build will say."""
    unknown = board("10.3", "8.7", None, None)
    assert backends.choose_backend(unknown, manifest(EVERY), {"precision": "int8", "dla_core": 1}) == "onnx"


def test_an_engines_key_has_all_that_shapes_it_and_nothing_else() -> None:
    files = {file: {"sha256": file} for file in [*EVERY.values(), "calibration/000.npy"]}
    whole = dict(manifest(EVERY), files=files, input={"height": 300, "width": 300}, nms={"top_k": 100})

    def key(facts: Any = ORIN, backend: str = "onnx", whole: Any = whole, **options: Any) -> str:
        return recipes.key_of(recipes.recipe(whole, backend, facts, recipes.options_of({"options": options})))

    other = {**ORIN, "tensorrt": {**ORIN["tensorrt"], "version": "10.7"}}
    upgraded = {**ORIN, "cuda": {**ORIN["cuda"], "runtime": 12060}}
    changed = [
        key(), key(other), key(upgraded), key(backend="onnx_fp16"), key(precision="fp16"), key(precision="int8"),
        key(batch=2), key(workspace_mb=512), key(precision="fp16", dla_core=0), key(precision="fp16", dla_core=1),
        key(nms="host"), key(whole=dict(whole, nms={"top_k": 200})),
    ]  # fmt: skip
    assert len(set(changed)) == len(changed)
    assert key() == key(timing_cache=False) == key(dla_core=None)
    stricter = dict(whole, nms={"top_k": 200})  # a part of the engine only where the model has none
    assert key(whole=stricter, nms="host") == key(nms="host") and key(whole=stricter, backend="uff") == key(
        backend="uff"
    )
    prepared = dict(whole, input={"height": 320, "width": 300})  # calibration sees images as they are prepared
    assert key(whole=prepared) == key() and key(whole=prepared, precision="int8") != key(precision="int8")
