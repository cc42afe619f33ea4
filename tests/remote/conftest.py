"""Releases of a small model, virtual Jetsons, and the interpreter of an old board."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any, Optional

import numpy as np
import pytest

from jetlane.remote import virtual
from jetlane.remote.agent.detections import Detections, output_count
from jetlane.remote.agent.image import to_input
from jetlane.remote.inventory import Device, load_inventory
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.ssd.params import InputSpec, Nms, PluginParams


def _beside(name: str) -> ModuleType:
    """A module of this folder; tests are not a package."""
    spec = importlib.util.spec_from_file_location(f"remote_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # data classes look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def models() -> ModuleType:
    """tests/remote/models.py."""
    return _beside("models")


MakeRelease = Callable[..., Path]


@pytest.fixture(scope="session")
def make_release(models: ModuleType) -> MakeRelease:
    """Write a release of a small model into a folder.

    ``wrong`` shifts the boxes that are expected of it; ``model`` takes the model's place after these were found.
    """

    def make(
        out: Path, seed: int = 0, weight_bytes: int = 0, wrong: float = 0.0, model: Optional[bytes] = None
    ) -> Path:
        import onnxruntime

        small = models.small_model(seed, weight_bytes)
        params = PluginParams(InputSpec(models.SIZE, models.SIZE), Nms(4, 8, models.KEEP, 0.6), 10, ((4, 4),), None)
        session = onnxruntime.InferenceSession(small, providers=["CPUExecutionProvider"])
        samples, expected = models.images(), []
        for image in samples:
            pixels, content = to_input(image, asdict(params.input))
            rows, count = session.run(["NMS", "NMS_1"], {"Input": pixels[None]})
            found = Detections.from_nms(rows[0, 0], output_count(count)[0], content)
            expected.append(Detections(found.boxes + np.float32(wrong), found.labels, found.scores))
        identity = write_release(
            out,
            "small",
            files={"model.onnx": model or small, "config.py": "# none\n"},
            samples=samples,
            expected=expected,
            params=params,
            labels=["circle", "square", "triangle"],
            metrics={"map": 0.9},
        )
        return out / identity

    return make


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory, make_release: MakeRelease) -> Path:
    """A release of a small model."""
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def board(tmp_path: Path) -> Iterator[virtual.VirtualFleet]:
    """A virtual Jetson, switched off at the end."""
    fleet = virtual.start(tmp_path / "board")
    yield fleet
    virtual.stop(fleet.folder)


@pytest.fixture
def device(board: virtual.VirtualFleet) -> Device:
    return load_inventory(board.inventory).device("virtual-jetson")


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Any]:
    """A real OpenSSH server, stopped at the end; ``Sshd`` of sshd.py."""
    beside = _beside("sshd")
    if beside.program() is None:
        pytest.skip("no sshd on this machine: install openssh-server")
    server = beside.start(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def more_sshd(tmp_path: Path) -> Iterator[Any]:
    """Starts further OpenSSH servers: ``more_sshd(name)``."""
    beside, servers = _beside("sshd"), []
    if beside.program() is None:
        pytest.skip("no sshd on this machine: install openssh-server")

    def start(name: str, **options: Any) -> Any:
        servers.append(beside.start(tmp_path / name, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=["virtual", pytest.param("sshd", marks=pytest.mark.sshd)])
def reached(request: pytest.FixtureRequest) -> Device:
    """A device behind either server."""
    if request.param == "virtual":
        return request.getfixturevalue("device")
    return load_inventory(request.getfixturevalue("sshd").inventory).device("real")


@pytest.fixture(scope="session")
def python36() -> str:
    """A Python 3.6 with numpy and onnxruntime, as on JetPack 4; named by JETLANE_PYTHON36, or made once and kept."""
    given = os.environ.get("JETLANE_PYTHON36")
    if given:
        return given
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "jetlane-tests" / "python36"
    python = cache / "bin" / "python"
    if _works(str(python)):
        return str(python)
    base = _find_python36()
    if base is None:
        pytest.skip("no Python 3.6 found: set JETLANE_PYTHON36 to one with numpy and onnxruntime 1.10")
    shutil.rmtree(cache, ignore_errors=True)
    cache.parent.mkdir(parents=True, exist_ok=True)
    for step in (
        [base, "-m", "venv", str(cache)],
        [str(python), "-m", "pip", "install", "-q", "pip==21.3.1"],
        [str(python), "-m", "pip", "install", "-q", "numpy==1.19.5", "onnxruntime==1.10.0"],
    ):
        if subprocess.run(step, capture_output=True).returncode:
            pytest.skip(f"numpy and onnxruntime cannot be installed for {base}: set JETLANE_PYTHON36")
    if not _works(str(python)):
        pytest.skip("the Python 3.6 that was set up does not import onnxruntime")
    return str(python)


def _find_python36() -> str | None:
    installed = [str(path) for path in Path.home().glob(".pyenv/versions/3.6*/bin/python3.6")]
    candidates = [*sorted(installed), shutil.which("python3.6")]
    return next((path for path in candidates if path and Path(path).is_file()), None)


def _works(python: str) -> bool:
    check = "import sys, numpy, onnxruntime; sys.exit(sys.version_info[:2] != (3, 6))"
    try:
        return subprocess.run([python, "-c", check], capture_output=True, env={"PATH": os.defpath}).returncode == 0
    except OSError:
        return False
