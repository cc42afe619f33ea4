"""What this board is and can do. Everything may be absent; nothing here fails."""

import glob
import importlib.util
import os
import platform
import re
import subprocess
import sys
from typing import Any, Dict, Optional

from ..board_conditions import conditions, memory
from ..safe_files import read_text, sha256_file
from ..store import Store

#: Characters of a text.
LONGEST = 500


def probe(store: Store, request: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    """Facts about the board, as JSON values; None where a thing is absent or unknown."""
    tensorrt = _tensorrt()
    cuda = _cuda() if tensorrt else None
    if tensorrt and tensorrt["version"]:
        tensorrt.update(_platform(store, cuda))
    figures = memory()
    facts = {
        "agent": agent_digest(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "hostname": platform.node(),
        "superuser": os.geteuid() == 0,
        "model": read_text("/proc/device-tree/model") or None,
        "l4t": _l4t(),
        "cpu": processor(),
        "memory_total": figures.get("MemTotal"),
        "memory_available": figures.get("MemAvailable"),
        "disk_free": store.free_bytes(),
        "numpy": _installed("numpy"),
        "onnxruntime": _installed("onnxruntime"),
        "tensorrt": tensorrt,
        "cuda": cuda,
        "conditions": conditions(),
    }
    return {name: _printable(value) for name, value in facts.items()}


def _printable(value: Any) -> Any:
    """Texts as the workstation takes them: it reckons an engine's key from these facts, as this board does."""
    if isinstance(value, dict):
        return {_printable(name): _printable(item) for name, item in value.items()}
    if isinstance(value, str):
        return "".join(letter if letter.isprintable() else " " for letter in value[:LONGEST])
    return value


def agent_digest() -> Optional[str]:
    """sha256 of the agent's own file; None when it runs from a folder."""
    path = sys.argv[0]
    return sha256_file(path) if os.path.isfile(path) and path.endswith(".pyz") else None


def _tensorrt() -> Optional[Dict[str, Any]]:
    """TensorRT as it is here, seen by its features; the version is for people and for the engine's key."""
    if importlib.util.find_spec("tensorrt") is None:
        return None
    try:
        import tensorrt
    except Exception as error:
        return {"version": None, "broken": str(error)}
    return {
        "version": getattr(tensorrt, "__version__", "unknown"),
        "uff": hasattr(tensorrt, "UffParser"),
        "onnx": hasattr(tensorrt, "OnnxParser") and hasattr(tensorrt.Builder, "build_serialized_network"),
        "fp16_flag": hasattr(tensorrt, "BuilderFlag") and hasattr(tensorrt.BuilderFlag, "FP16"),
        "int8": hasattr(tensorrt, "IInt8EntropyCalibrator"),
    }


def _platform(store: Store, cuda: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """The API's era, and what the GPU is good for."""
    import tensorrt

    from ..trt.eras import era_of
    from ..trt.gpu_features import gpu_features

    return dict(gpu_features(store, tensorrt, cuda), era=era_of(tensorrt).name)


def _cuda() -> Optional[Dict[str, Any]]:
    from ..errors import AgentError
    from ..trt.cuda import Cuda

    try:
        return Cuda().facts()
    except AgentError as error:
        return {"broken": str(error)}


def _installed(package: str) -> Optional[str]:
    """Version of a package that could be imported, without importing it (that takes seconds on a small board)."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        found = None
    if found is None or not found.submodule_search_locations:
        return None
    for place in found.submodule_search_locations:
        for info in glob.glob(os.path.join(glob.escape(os.path.dirname(place)), package + "-*-info")):
            return os.path.basename(info).split("-")[1].replace(".dist", "").replace(".egg", "")
        for info in glob.glob(os.path.join(glob.escape(os.path.dirname(place)), package + "-*.egg-info")):
            return os.path.basename(info).split("-")[1]
        version = _version_in(os.path.join(place, "version.py")) or _version_in(os.path.join(place, "__init__.py"))
        if version:
            return version
    return "unknown"


def _version_in(path: str) -> Optional[str]:
    found = re.search(r"""^(?:__version__|version)\s*(?::\s*str\s*)?=\s*['"]([^'"]+)""", read_text(path) or "", re.M)
    return found.group(1) if found else None


def _l4t() -> Optional[str]:
    """The Jetson's L4T release, such as 32.7.1."""
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", read_text("/etc/nv_tegra_release") or "")
    if found:
        return "%s.%s" % found.groups()
    if not os.path.exists("/proc/device-tree/compatible"):
        return None
    try:  # JetPack 6 has no such file
        shown = subprocess.run(
            ["dpkg-query", "--showformat=${Version}", "--show", "nvidia-l4t-core"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.decode("utf-8", "replace").split("-")[0] or None


def processor() -> Optional[str]:
    """The processor's name; an onnxruntime engine may be laid out for it."""
    text = read_text("/proc/cpuinfo") or ""
    for key in ("model name", "Hardware", "CPU part"):
        found = re.search(r"^%s\s*:\s*(.+)$" % key, text, re.M)
        if found:
            return found.group(1).strip()
    return platform.processor() or None
