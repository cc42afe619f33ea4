"""Interpreters as boards have them: found on this machine, with numpy and onnxruntime of their time beside them.

Their environments are made once and kept inside the environment that runs the tests, so that they go with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

_PINS = Path(__file__).with_name("interpreters.txt")
_CHECK = "import sys, numpy, onnxruntime; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])"


class Absent(Exception):
    """There is no such interpreter here; the message says what would help."""


def python(version: str) -> str:
    """Path of a Python of this version (``3.6``) that imports numpy and onnxruntime.

    ``JETLANE_PYTHON36``, for 3.6, names one that is ready.
    """
    variable = f"JETLANE_PYTHON{version.replace('.', '')}"
    if variable in os.environ:
        return os.environ[variable]
    base = _find(version)
    if base is None:
        raise Absent(f"no Python {version} found: install it, or set {variable} to one with numpy and onnxruntime")
    pins = hashlib.sha256(_PINS.read_bytes()).hexdigest()[:8]
    place = Path(sys.prefix) / "boards" / f"python{version}-{pins}"
    found = place / "bin" / "python"
    place.parent.mkdir(exist_ok=True)
    with FileLock(place.with_name(f"python{version}.lock")):
        if not _works(found, version):
            for old in place.parent.glob(f"python{version}-*"):
                shutil.rmtree(old)
            _make(base, place)
        if not _works(found, version):
            raise Absent(f"numpy and onnxruntime do not import in {base}'s environment: set {variable}")
    return str(found)


def _find(version: str) -> str | None:
    installed = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    candidates = [*map(str, installed), shutil.which(f"python{version}")]
    return next((path for path in candidates if path and Path(path).is_file()), None)


def _make(base: str, place: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        raise Absent(f"no uv beside {sys.executable}: run the tests with make test")
    for step in (
        [base, "-m", "venv", "--without-pip", place],
        # what else onnxruntime asks for is not needed to run a model
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", place / "bin" / "python", "-r", _PINS],
    ):
        done = subprocess.run(step, capture_output=True, text=True)
        if done.returncode:
            raise Absent(f"numpy and onnxruntime cannot be installed for {base}: {done.stderr.strip()[-300:]}")


def _works(found: Path, version: str) -> bool:
    try:
        done = subprocess.run([found, "-c", _CHECK, version], capture_output=True, env={"PATH": os.defpath})
    except OSError:
        return False
    return done.returncode == 0
