"""Releases of a small model, virtual Jetsons, and the interpreter of an old board."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
from tests.remote import interpreters, models
from tests.remote import sshd as openssh
from tests.remote.namespaces import Namespaces, NotPermitted

from jetlane.remote.agent.detect.detections import Detections, output_count
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.virtual import fleet as virtual
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams

MakeRelease = Callable[..., Path]


@pytest.fixture(scope="session")
def make_release() -> MakeRelease:
    """Write a release of a small model into a folder.

    ``wrong`` shifts the boxes that are expected of it; ``model`` takes the model's place after these were found;
    ``more`` goes to ``write_release``.
    """

    def make(
        out: Path,
        seed: int = 0,
        weight_bytes: int = 0,
        wrong: float = 0.0,
        model: Optional[bytes] = None,
        **more: Any,
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
            **more,
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
    if openssh.program() is None:
        pytest.skip("no sshd on this machine: install openssh-server")
    server = openssh.start(tmp_path / "sshd")
    yield server
    server.stop()


@pytest.fixture
def more_sshd(tmp_path: Path) -> Iterator[Any]:
    """Starts further OpenSSH servers: ``more_sshd(name)``."""
    servers: list[openssh.Sshd] = []
    if openssh.program() is None:
        pytest.skip("no sshd on this machine: install openssh-server")

    def start(name: str, **options: Any) -> Any:
        servers.append(openssh.start(tmp_path / name, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def namespaces() -> Iterator[Any]:
    """Makes networks of their own, taken away at the end; ``Namespaces`` of namespaces.py."""
    with Namespaces() as made:
        try:
            made.add()
        except NotPermitted as error:
            pytest.skip(str(error))
        yield made


@pytest.fixture(params=["virtual", pytest.param("sshd", marks=pytest.mark.sshd)])
def reached(request: pytest.FixtureRequest) -> Device:
    """A device behind either server."""
    if request.param == "virtual":
        return request.getfixturevalue("device")
    return load_inventory(request.getfixturevalue("sshd").inventory).device("real")


@pytest.fixture(scope="session")
def board_python() -> Callable[[str], str]:
    """A Python of a version with numpy and onnxruntime, as boards have them; where there is none, skips the test."""

    def find(version: str) -> str:
        try:
            return str(interpreters.python(version))
        except interpreters.Absent as reason:
            pytest.skip(str(reason))

    return find


@pytest.fixture(scope="session")
def python36(board_python: Callable[[str], str]) -> str:
    """The Python of JetPack 4."""
    return board_python("3.6")


@pytest.fixture(scope="session")
def _cudart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler for the stub of CUDA's runtime library")
    library = tmp_path_factory.mktemp("cuda") / "libcudart.so"
    source = Path(__file__).parent / "agent" / "cudart_stub.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.fixture
def cudart(_cudart: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A stub in the place of CUDA's runtime library, as a ctypes library; nothing of it may be left at the end."""
    from jetlane.remote.agent import engines
    from jetlane.remote.agent.trt import cuda

    monkeypatch.setattr(cuda, "_SONAMES", (str(_cudart),))
    monkeypatch.setattr(cuda, "_mapped", list)
    library = ctypes.CDLL(str(_cudart))
    library.stubKnows.argtypes = [ctypes.c_void_p]
    library.stubCapability(5, 3)
    before = library.stubAlive()
    yield library
    engines.unload()  # in the agent's own processes it is the kernel that frees it
    assert library.stubAlive() == before, "memory, streams or events were not freed"


@pytest.fixture
def put_double(cudart: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Put the double of an era in tensorrt's place; gives its board."""
    from tests.remote.agent import doubles

    def put(era: str) -> Any:
        double = doubles.make(era)
        double.board.knows = lambda address: bool(cudart.stubKnows(address))
        monkeypatch.setitem(sys.modules, "tensorrt", double.module)
        return double.board

    return put
