"""Engines: each is kept under a key of all that shapes it, so a stale one is never loaded."""

import hashlib
import json
import os
from typing import Any, Dict, Optional

from .caches import Caches
from .files import is_plain, read_json, remove, sha256_file, sync_folder, write_bytes, write_json
from .store import Store

#: What a build may be asked for, and the values that suit a 4 GB Nano. Published SSD converters use 256 MiB of scratch
#: memory there; TensorRT's own default is nothing before 8.4, and since then all the memory it shares with the CPU.
DEFAULTS: Dict[str, Any] = {
    "precision": "fp32",
    "batch": 1,
    "workspace_mb": 256,
    "dla_core": None,
    "timing_cache": True,
}


def options_of(request: Dict[str, Any]) -> Dict[str, Any]:
    """Build options of a request, the defaults filled in."""
    given = request.get("options") or {}
    return {name: given.get(name, default) for name, default in DEFAULTS.items()}


def recipe(manifest: Dict[str, Any], road: str, facts: Dict[str, Any], options: Dict[str, Any]) -> Dict[str, Any]:
    """All that shapes an engine: model, road, runtime, processor, precision, calibration, batch, workspace, DLA."""
    cuda, tensorrt = facts.get("cuda") or {}, facts.get("tensorrt") or {}
    if road == "cpu":
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
    wanted.update(road=road, model=files[manifest["roads"][road]]["sha256"], runtime=runtime)
    if options.get("dla_core") is not None:
        wanted["dla_core"] = options["dla_core"]
    if options["precision"] == "int8":
        used = list(manifest.get("calibration") or []) + list(filter(None, [manifest.get("calibration_cache")]))
        wanted["calibration"] = [files[path]["sha256"] for path in used]
    return wanted


def key_of(wanted: Dict[str, Any]) -> str:
    """The engine's key: 20 hex digits of the recipe's sha256."""
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode("utf-8")).hexdigest()[:20]


def find(store: Store, key: str) -> Optional[Dict[str, Any]]:
    """What ``engine.json`` says of a whole engine; None where there is none, or a damaged one, which a build replaces.

    Nothing is removed here: a build may put the engine in place between the look and the removal.
    """
    folder = store.path("engines", key)
    entry = read_json(os.path.join(folder, "engine.json"))
    engine = os.path.join(folder, "engine")
    if not isinstance(entry, dict) or not is_plain(store.path("engines"), key + "/engine"):
        return None
    return entry if sha256_file(engine) == entry.get("sha256") else None


def keep(store: Store, key: str, engine: bytes, facts: Dict[str, Any]) -> Dict[str, Any]:
    """Put a finished engine under its key."""
    folder, part = store.path("engines", key), store.path("engines", key + ".part")
    remove(part)
    os.makedirs(part, mode=0o700)
    write_bytes(os.path.join(part, "engine"), engine)
    entry = dict(facts, key=key, size=len(engine), sha256=hashlib.sha256(engine).hexdigest())
    write_json(os.path.join(part, "engine.json"), entry)
    remove(folder)
    os.replace(part, folder)
    sync_folder(store.path("engines"))
    return entry


def caches(store: Store, wanted: Dict[str, Any]) -> Caches:
    """The caches that help to build an engine of this recipe."""
    return Caches(store.path("caches"), wanted)


def load_bytes(store: Store, key: str) -> bytes:
    with open(store.path("engines", key, "engine"), "rb") as file:
        return file.read()
