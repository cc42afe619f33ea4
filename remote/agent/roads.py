"""The ways from a release's model to an engine, and which of them this board can go.

A road is a module with ``build(model, manifest, options, progress) -> bytes`` and
``load(engine, manifest) -> object`` whose ``run(pixels)`` returns NMS_TRT's rows and their count, and ``close()``.
"""

import importlib
from typing import Any, Dict, List

from .errors import AgentError

#: Best first: the plugins' own NMS where a UFF parser is left, TensorRT without it, then the CPU.
ROADS = ("uff", "onnx", "cpu")
_MODULES = {"uff": "trt_uff", "onnx": "trt_onnx", "cpu": "cpu"}
PRECISIONS = ("fp32", "fp16", "int8")


def open_roads(facts: Dict[str, Any]) -> List[str]:
    """Roads that a board with these facts (as ``probe`` gives them) can go, best first."""
    tensorrt = facts.get("tensorrt") or {}
    have = {"uff": bool(tensorrt.get("uff")), "onnx": bool(tensorrt.get("onnx")), "cpu": bool(facts.get("onnxruntime"))}
    if not facts.get("numpy"):
        return []
    # A board with a TensorRT is not sent down the CPU road: an engine would seem to work, ten times too slow.
    return [road for road in ROADS if have[road] and not (road == "cpu" and tensorrt.get("version"))]


def choose(facts: Dict[str, Any], manifest: Dict[str, Any], options: Dict[str, Any]) -> str:
    """The road for this release on this board. Pure: the workstation asks it too, before anything is sent.

    Raises:
        AgentError: None fits, or the precision asked for cannot be had; kind ``road``.
    """
    can = open_roads(facts)
    fitting = [road for road in can if road in manifest["roads"]]
    if not fitting:
        raise AgentError(
            "no road fits: this board can run %s" % (_named(can)), _why(facts, can, manifest), _remedy(can), "road"
        )
    precision = options.get("precision", "fp32")
    if precision not in PRECISIONS:
        raise AgentError(
            "the precision %r is not known" % (precision,), "", "use one of %s" % ", ".join(PRECISIONS), "road"
        )
    road = fitting[0]
    if precision == "int8" or (precision == "fp16" and road == "cpu"):
        raise AgentError(
            "%s cannot be built on this board by the %s road" % (precision, road),
            "onnxruntime runs fp32" if road == "cpu" else "this release carries no calibration",
            "set build.precision to fp32" + ("" if road == "cpu" else " or fp16"),
            "road",
        )
    if precision == "fp16" and road == "onnx" and not (facts.get("tensorrt") or {}).get("fp16_flag"):
        raise AgentError(
            "fp16 cannot be chosen on this board",
            "from TensorRT 11 on precision is a property of the ONNX file",
            "set build.precision to fp32",
            "road",
        )
    return road


def module(road: str) -> Any:
    """The module that goes a road; importing it imports its runtime."""
    return importlib.import_module("." + _MODULES[road], __package__)


def _named(roads: List[str]) -> str:
    return (
        " and ".join({"uff": "UFF", "onnx": "ONNX in TensorRT", "cpu": "onnxruntime"}[road] for road in roads)
        or "nothing"
    )


def _why(facts: Dict[str, Any], can: List[str], manifest: Dict[str, Any]) -> str:
    if not facts.get("numpy"):
        return "its Python %s has no numpy" % facts.get("python")
    if can:
        return "the release offers %s" % (_named([road for road in ROADS if road in manifest["roads"]]))
    broken = (facts.get("tensorrt") or {}).get("broken")
    if broken:
        return "its tensorrt module does not import: %s" % broken
    return "its Python %s has neither tensorrt nor onnxruntime" % facts.get("python")


def _remedy(can: List[str]) -> str:
    if can:
        return "convert the model again without refusing that road (convert.allow_unproven), or use another board"
    return "name in the inventory, as `python`, the interpreter that has the board's tensorrt (on JetPack: python3)"
