"""Backends: what makes an engine of a release's model and runs it, and which of them this board can use.

A backend is a module with two functions. ``build(job) -> object``, with a ``build_job.BuildJob``, takes the content of
the release's files only from ``job.read``, gives the engine to ``job.save``, and returns what made it.
``load(engine, manifest, options) -> object``: its ``run(pixels)`` returns NMS_TRT's rows and their count, its ``times``
are the latest run's milliseconds by part, and it has ``close()``.
"""

import importlib
from typing import Any, Dict, List

from .errors import AgentError

#: Best first: the plugins' own NMS where a UFF parser is left, TensorRT without it, then the CPU.
BACKENDS = ("uff", "onnx", "cpu")
#: The ONNX backend where TensorRT takes fp16 only from the model: it has a model of its own.
HALF = "onnx_fp16"
#: The ONNX backend with a model that was quantised on the workstation.
INT8 = "onnx_int8"
#: Those that give TensorRT an ONNX model.
ONNX = ("onnx", HALF, INT8)
_MODULES = {
    "uff": "trt.uff_backend",
    "onnx": "trt.onnx_backend",
    HALF: "trt.onnx_backend",
    INT8: "trt.onnx_backend",
    "cpu": "detect.onnxruntime_backend",
}
PRECISIONS = ("fp32", "fp16", "int8")


def usable_backends(facts: Dict[str, Any]) -> List[str]:
    """Backends that a board with these facts (as ``probe`` gives them) can use, best first."""
    tensorrt = facts.get("tensorrt") or {}
    have = {"uff": bool(tensorrt.get("uff")), "onnx": bool(tensorrt.get("onnx")), "cpu": bool(facts.get("onnxruntime"))}
    if not facts.get("numpy"):
        return []
    # A board with a TensorRT is never given the CPU backend: its engine would seem to work, ten times too slow.
    return [backend for backend in BACKENDS if have[backend] and not (backend == "cpu" and tensorrt.get("version"))]


def choose_backend(facts: Dict[str, Any], manifest: Dict[str, Any], options: Dict[str, Any]) -> str:
    """The backend for this release on this board. Pure: the workstation asks it too, before anything is sent.

    Raises:
        AgentError: None fits, or the precision asked for cannot be had; kind ``backend``.
    """
    can = usable_backends(facts)
    fitting = [backend for backend in can if backend in manifest["backends"]]
    if not fitting:
        raise AgentError(
            "no backend fits: this board can run %s" % (_named(can)),
            _why(facts, can, manifest),
            _remedy(can),
            "backend",
        )
    precision = options.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise AgentError(
            "the precision %r is not known" % (precision,), "", "use one of %s" % ", ".join(PRECISIONS), "backend"
        )
    backend = fitting[0]
    tensorrt = facts.get("tensorrt") or {}
    by_model = backend == "onnx" and not tensorrt.get("fp16_flag")
    quantized = _is_quantized(precision, backend, manifest, options.get("dla_core"))
    _check_precision(precision, backend, by_model, quantized, facts, manifest)
    _check_batch(int(options.get("batch", 1)), backend)
    if options.get("dla_core") is not None:
        _check_dla(int(options["dla_core"]), precision, backend, tensorrt)
    if quantized:
        return INT8
    return HALF if precision == "fp16" and by_model else backend


def _is_quantized(precision: str, backend: str, manifest: Dict[str, Any], dla_core: Any) -> bool:
    """Whether int8 is what the release's quantised model says. A DLA takes no quantisers, and is calibrated."""
    return precision == "int8" and backend == "onnx" and INT8 in manifest["backends"] and dla_core is None


def _check_precision(
    precision: str, backend: str, by_model: bool, quantized: bool, facts: Dict[str, Any], manifest: Dict[str, Any]
) -> None:
    """
    Args:
        by_model: Precision is a property of the model, as from TensorRT 11 on.
        quantized: The release's quantised model is taken; else int8 is calibrated on the board.
    """
    tensorrt = facts.get("tensorrt") or {}
    why, instead = "", "fp32" if precision == "fp16" else "fp16 or fp32"
    if precision == "fp32":
        return
    if backend == "cpu":
        why, instead = "onnxruntime runs fp32", "fp32"
    elif tensorrt.get("fast_" + precision) is False:
        capability = (facts.get("cuda") or {}).get("compute_capability")
        why = "its GPU (compute capability %s) has no fast %s" % (capability, precision)
    elif precision == "fp16" and by_model and HALF not in manifest["backends"]:
        why = "from TensorRT 11 on precision is a property of the model, and this release has none in fp16"
    elif precision == "int8" and not quantized and (by_model or not tensorrt.get("int8")):
        why = "from TensorRT 11 on int8 is a property of the model: there is no calibration on the board"
        if INT8 not in manifest["backends"]:
            why += ", and this release has no quantised model"
    elif precision == "int8" and not quantized and not manifest.get("calibration"):
        why = "this release carries no calibration images: it was made with another build.precision"
    if why:
        raise AgentError(
            "%s cannot be built on this board by the %s backend" % (precision, backend),
            why,
            "set build.precision to " + instead,
            "backend",
        )


def _check_batch(batch: int, backend: str) -> None:
    if batch != 1 and backend != "uff":
        raise AgentError(
            "a batch of %d cannot be built on this board by the %s backend" % (batch, backend),
            "the ONNX model is made for one image; UFF alone leaves the batch open",
            "set build.max_batch to 1",
            "backend",
        )


def _check_dla(core: int, precision: str, backend: str, tensorrt: Dict[str, Any]) -> None:
    cores = tensorrt.get("dla_cores")
    why, remedy = "", "leave build.dla_core out"
    if backend == "cpu":
        why = "onnxruntime runs on the CPU"
    elif cores is not None and core >= cores:
        why = "the board has %s" % ("no DLA" if not cores else "DLA cores 0 to %d" % (cores - 1))
    elif precision == "fp32":
        why, remedy = "a DLA computes in fp16 and int8 alone", "set build.precision to fp16, or " + remedy
    if why:
        raise AgentError("DLA core %d cannot be used on this board" % core, why, remedy, "backend")


def module_name(backend: str) -> str:
    """The dotted name, within the agent, of a backend's module."""
    if backend not in _MODULES:
        raise AgentError("the backend %r is not known" % (backend,), "", "deliver the release again", "absent")
    return _MODULES[backend]


def module(backend: str) -> Any:
    """A backend's module; importing it imports its runtime."""
    return importlib.import_module("." + module_name(backend), __package__)


def _named(backends: List[str]) -> str:
    return (
        " and ".join({"uff": "UFF", "onnx": "ONNX in TensorRT", "cpu": "onnxruntime"}[backend] for backend in backends)
        or "nothing"
    )


def _why(facts: Dict[str, Any], can: List[str], manifest: Dict[str, Any]) -> str:
    if not facts.get("numpy"):
        return "its Python %s has no numpy" % facts.get("python")
    if can:
        return "the release offers %s" % (_named([backend for backend in BACKENDS if backend in manifest["backends"]]))
    broken = (facts.get("tensorrt") or {}).get("broken")
    if broken:
        return "its tensorrt module does not import: %s" % broken
    return "its Python %s has neither tensorrt nor onnxruntime" % facts.get("python")


def _remedy(can: List[str]) -> str:
    if can:
        return "convert the model again without refusing that backend (convert.allow_unproven), or use another board"
    return "name in the inventory, as `python`, the interpreter that has the board's tensorrt (on JetPack: python3)"
