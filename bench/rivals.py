"""The environment of what jetlane is measured against: TensorFlow, tf2onnx, OpenVINO, in a venv of their own."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements" / "bench.txt"


def cache() -> Path:
    """A folder of the user's that outlives a checkout."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "jetlane" / "bench"


def interpreter() -> str:
    """``JETLANE_BENCH_PYTHON``, else a Python 3.10 that runs, else this one.

    tf2onnx's old protobuf is pure Python, and many times slower, on later ones; a rival is to be at its best.
    """
    older = shutil.which("python3.10")
    if older and subprocess.run([older, "-c", "import venv"], capture_output=True).returncode:
        older = None
    return os.environ.get("JETLANE_BENCH_PYTHON") or older or sys.executable


@functools.cache
def environment() -> Path:
    """The venv's ``bin``; it is made on first use, anew when the requirements or the Python change.

    Raises:
        subprocess.CalledProcessError: A package cannot be installed.
    """
    base = interpreter()
    version = subprocess.run([base, "--version"], check=True, capture_output=True).stdout
    key = hashlib.sha256(REQUIREMENTS.read_bytes() + version).hexdigest()[:12]
    folder = cache() / f"venv-{key}"
    if not (folder / "complete").exists():
        print(f"installing TensorFlow, tf2onnx and OpenVINO into {folder}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([base, "-m", "venv", str(folder)], check=True)
        python = str(folder / "bin" / "python")
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        install = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
        subprocess.run([*install, "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)], check=True)
        (folder / "complete").touch()
    return folder / "bin"


def version() -> str:
    """``Python 3.10.13``, of the venv."""
    done = subprocess.run([environment() / "python", "--version"], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def variables() -> dict[str, str]:
    """The rivals' environment variables: quiet, and nothing sent home (ovc's telemetry would wait for the network)."""
    home = cache() / "home"
    (home / "intel").mkdir(parents=True, exist_ok=True)
    (home / "intel" / "openvino_telemetry").write_text("0")
    return {**os.environ, "HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}


def tf2onnx_command(graph: Path, inputs: Sequence[str], outputs: Sequence[str], target: Path) -> list[str]:
    """tf2onnx's own command line for a frozen graph."""
    names = [",".join(f"{name}:0" for name in group) for group in (inputs, outputs)]
    python = str(environment() / "python")
    options = ["--graphdef", str(graph), "--inputs", names[0], "--outputs", names[1], "--output", str(target)]
    return [python, "-m", "tf2onnx.convert", *options]


def ovc_command(graph: Path, target: Path) -> list[str]:
    """OpenVINO's own command line for a frozen graph; weights stay float32, as in all others."""
    options = [str(graph), "--output_model", str(target), "--compress_to_fp16=False"]
    return [str(environment() / "ovc"), *options]
