"""The base install converts on every supported Python, with neither TensorFlow nor Prefect beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UV = (sys.executable, "-m", "uv")
GRAPH = "trained_F_t215_v2_160_c3"
PLUGINS = """
import sys
from jetlane.tasks.converter.uff import read_uff
print(*sorted(node.id for node in read_uff(sys.argv[1]).nodes if node.operation[0] == "_"))
"""
ABSENT = "import sys; from importlib.util import find_spec; sys.exit(any(map(find_spec, ('tensorflow', 'prefect'))))"


def _interpreter(version: str) -> str:
    """An interpreter of that version: on the PATH, or one that pyenv keeps."""
    candidates = [
        shutil.which(f"python{version}"),
        *map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python")),
    ]
    for python in filter(None, candidates):
        # pyenv's shim is on the PATH and fails where its version is not switched on
        if subprocess.run([python, "-c", ""], capture_output=True).returncode == 0:
            return python
    pytest.skip(f"no Python {version} on this machine")


@pytest.mark.parametrize("version", ["3.9", "3.13"])
def test_base_install_converts(version: str, repository: Path, shared_data: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([*UV, "venv", "-q", "-p", _interpreter(version), tmp_path / "venv"], check=True, env=clean)
    source = tmp_path / "source"  # a copy, so that the build leaves nothing in the checkout
    leave = shutil.ignore_patterns(".git", ".venv", ".jetlane", "build", "*.egg-info", "__pycache__")
    shutil.copytree(repository, source, symlinks=True, ignore=leave)
    subprocess.run([*UV, "pip", "install", "-q", "-p", python, source], check=True, env=clean)
    assert subprocess.run([python, "-c", ABSENT], env=clean).returncode == 0

    case = shared_data / "graphs" / GRAPH
    out = tmp_path / "out"
    command = [tmp_path / "venv" / "bin" / "jetlane", "convert", case / "frozen_inference_graph.pb"]
    done = subprocess.run(
        [*command, case / "pipeline.config", "-o", out], capture_output=True, text=True, env=clean, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert {"model.uff", "model.uff.pbtxt", "model.onnx", "model.trt.onnx", "plugins.json", "config.py"} <= {
        path.name for path in out.iterdir()
    }
    assert json.loads((out / "plugins.json").read_text())["nms"]["num_classes"] == 4

    # a script for NVIDIA's tools, which imports graphsurgeon and tensorflow
    command = [tmp_path / "venv" / "bin" / "convert-to-uff", case / "frozen_inference_graph.pb", "-O", "NMS"]
    done = subprocess.run(
        [*command, "-o", tmp_path / "dropin.uff", "-p", out / "config.py"], capture_output=True, text=True, env=clean
    )
    assert done.returncode == 0, done.stderr
    made = [
        subprocess.run([python, "-c", PLUGINS, path], capture_output=True, text=True, env=clean, cwd=tmp_path).stdout
        for path in (tmp_path / "dropin.uff", out / "model.uff")
    ]
    assert made[0].split() == ["GridAnchor", "NMS", "concat_box_conf", "concat_box_loc"]
    assert made[1].split() == ["GridAnchor", "NMS"]
