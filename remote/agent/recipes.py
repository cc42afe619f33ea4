"""Recipes: all that shapes an engine, and its key, which is a digest of that."""

import hashlib
import json
from typing import Any, Dict

from . import backends, old_names
from .errors import AgentError
from .strict_json import is_whole

#: What a build may be asked for, and the values that suit a 4 GB Nano. Published SSD converters use 256 MiB of scratch
#: memory there; TensorRT's own default is nothing before 8.4, and since then all the memory it shares with the CPU.
DEFAULTS: Dict[str, Any] = {
    "precision": "fp32",
    "batch": 1,
    "workspace_mb": 256,
    "dla_core": None,
    "timing_cache": True,
    "nms": "auto",
}
#: Where the ONNX backend suppresses: in the engine if TensorRT has the plugin, or in numpy on the CPU.
NMS_CHOICES = ("auto", "host")


def options_of(request: Dict[str, Any]) -> Dict[str, Any]:
    """Build options of a request, the defaults filled in.

    Raises:
        AgentError: One is of a type that it never has.
    """
    given = request.get("options") or {}
    options = {name: given.get(name, default) for name, default in DEFAULTS.items()} if isinstance(given, dict) else {}
    sound = (
        bool(options)
        and isinstance(options["precision"], str)
        and all(is_whole(options[name]) and options[name] > 0 for name in ("batch", "workspace_mb"))
        and (options["dla_core"] is None or (is_whole(options["dla_core"]) and options["dla_core"] >= 0))
        and isinstance(options["timing_cache"], bool)
        and options["nms"] in NMS_CHOICES
    )
    if not sound:
        raise AgentError("%s are no build options" % json.dumps(given)[:200], "", "see `build` in the spec")
    return options


def recipe(manifest: Dict[str, Any], backend: str, facts: Dict[str, Any], options: Dict[str, Any]) -> Dict[str, Any]:
    """All that shapes an engine: model, backend, runtime, processor, precision, calibration, batch, workspace, DLA, and
    the suppression's parameters where that may be a part of the engine."""
    cuda, tensorrt = facts.get("cuda") or {}, facts.get("tensorrt") or {}
    if backend == "cpu":
        runtime = {
            "onnxruntime": facts.get("onnxruntime"),
            "processor": facts.get("cpu"),
            "machine": facts.get("machine"),
        }
    else:
        runtime = {
            "tensorrt": tensorrt.get("version"),
            "cuda": cuda.get("runtime"),
            "gpu": cuda.get("name"),
            "compute_capability": cuda.get("compute_capability"),
        }
    files = manifest["files"]
    wanted = {name: options[name] for name in ("precision", "batch", "workspace_mb")}
    wanted.update(backend=backend, model=files[manifest["backends"][backend]]["sha256"], runtime=runtime)
    if options.get("dla_core") is not None:
        wanted["dla_core"] = options["dla_core"]
    if backend in backends.ONNX and options.get("nms", "auto") == "auto":
        wanted["suppression"] = manifest["nms"]
    if options["precision"] == "int8" and backend != backends.INT8:
        used = list(manifest.get("calibration") or []) + list(filter(None, [manifest.get("calibration_cache")]))
        wanted["calibration"] = [files[path]["sha256"] for path in used]
        wanted["input"] = manifest["input"]  # how the images are prepared
    return wanted


def key_of(wanted: Dict[str, Any]) -> str:
    """The engine's key: 20 hex digits of the recipe's sha256."""
    content = json.dumps(old_names.hashed_recipe(wanted), sort_keys=True)
    return hashlib.sha256(content.encode("utf-8")).hexdigest()[:20]


def recipe_of(entry: Dict[str, Any]) -> Dict[str, Any]:
    """What an engine was made of, by its ``engine.json``.

    Raises:
        AgentError: It does not say; kind ``absent``.
    """
    made: Dict[str, Any] = entry.get("recipe") or {}
    if not isinstance(made.get("backend"), str) or not isinstance(made.get("runtime"), dict):
        raise AgentError(
            "it is not known what the engine was made of", "its engine.json is damaged", "build it", "absent"
        )
    return made
