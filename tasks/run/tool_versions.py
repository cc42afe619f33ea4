"""Versions of the programs whose work a step's outputs are: part of its key, so that an upgrade makes it again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata

#: Distributions that shape what the Object Detection API's process makes.
TRAINING = ("tensorflow", "tf-models-research-object-detection", "tf-slim", "numpy")
#: Those behind plugins, UFF and ONNX files.
CONVERSION = ("numpy", "onnx", "protobuf")
#: Those that run the converted model here.
INFERENCE = ("numpy", "onnxruntime")
#: The one that compiles it here, where it is asked for.
BUILDER = ("tensorrt-rtx",)

#: For interpreters as old as Python 3.7, which has no importlib.metadata.
_ASK = """
import json, sys
try:
    from importlib.metadata import version
except ImportError:
    from pkg_resources import get_distribution
    version = lambda name: get_distribution(name).version
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = version(name)
    except Exception:
        pass
print(json.dumps(found))
"""
_SECONDS = 30


def versions(names: Sequence[str], python: str = sys.executable) -> Mapping[str, str]:
    """Installed versions by distribution; what is not installed is left out.

    Args:
        python: The interpreter that is asked; one that does not answer has no known versions.
    """
    return _here(tuple(names)) if python == sys.executable else _there(tuple(names), python)


def _here(names: tuple[str, ...]) -> Mapping[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@lru_cache
def _there(names: tuple[str, ...], python: str) -> Mapping[str, str]:
    try:
        asked = subprocess.run(
            [python, "-c", _ASK, *names], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS
        )
        return dict(json.loads(asked.stdout))
    except (OSError, subprocess.SubprocessError, ValueError):
        return {}
