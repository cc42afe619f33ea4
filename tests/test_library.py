"""docs/library.md: its examples run as they stand; and what ``import jetlane`` costs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jetlane

_NEEDS = re.compile(r"# needs: (.+)\n")


def _blocks(repository: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (repository / "docs" / "library.md").read_text(), re.M | re.S)


@pytest.fixture
def folder(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("frozen_inference_graph.pb", "pipeline.config"):
        shutil.copy(shared_data / "graphs" / "trained_F_t215_v2_160_c3" / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def device(folder: Path) -> Iterator[None]:
    """``release``, ``inventory.yaml`` and ``board`` as the page names them."""
    from jetlane.remote.virtual import fleet as virtual
    from jetlane.tasks.bundle.release import write_release
    from jetlane.tasks.proof.onnx_detector import OnnxDetector

    made = jetlane.convert("frozen_inference_graph.pb", "pipeline.config", "forms")
    detector = OnnxDetector(made.files["model.onnx"].read_bytes(), made.plugins.input)
    samples = [np.full((120, 160, 3), 60 * number, np.uint8) for number in range(3)]
    for number, sample in enumerate(samples):
        sample[20:90, 30 + 10 * number : 110] = (250, 30, 20)
    identity = write_release(
        folder / "releases",
        "shapes",
        files=made.files,
        samples=samples,
        expected=[detector.detect(sample).above(0.3) for sample in samples],
        params=made.plugins,
        labels=["circle", "square", "triangle"],
    )
    (folder / "release").symlink_to(folder / "releases" / identity)
    fleet = virtual.start(folder)
    assert fleet.inventory == folder / "inventory.yaml"
    (folder / "board").symlink_to(fleet.devices[0].home / "jetlane")
    yield
    virtual.stop(fleet.folder)


def test_the_pages_examples_run(repository: Path, folder: Path) -> None:
    run = _runner({"supervision"} if importlib.util.find_spec("supervision") else set())
    assert sum(run(block) for block in _blocks(repository)) >= 6


def test_the_pages_examples_with_a_device_run(repository: Path, device: None) -> None:
    run = _runner({"a release and a device"})
    blocks = _blocks(repository)
    ran = [run(block) for block in blocks if "import " in block or "a release and a device" in block]
    assert sum(ran) >= 5


def _runner(there: set[str]) -> Callable[[str], bool]:
    names: dict[str, Any] = {}

    def run(block: str) -> bool:
        needs = _NEEDS.match(block)
        if needs and needs[1] not in there:
            return False
        exec(compile(block, "docs/library.md", "exec"), names)
        return True

    return run


def test_the_import_is_quick_and_brings_nothing_along() -> None:
    program = (
        "import sys, time; start = time.process_time(); import jetlane; took = time.process_time() - start\n"
        "print(took); print(*sorted(sys.modules)); jetlane.Detections"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    took, modules = done.stdout.splitlines()
    assert float(took) < 0.05
    assert not {"numpy", "pydantic", "prefect", "paramiko", "typing"} & set(modules.split()) - _of_the_interpreter()


def _of_the_interpreter() -> set[str]:
    """Modules that an interpreter with these site packages has at its start."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_every_public_name_is_there_and_no_other() -> None:
    for name in jetlane.__all__:
        assert getattr(jetlane, name).__name__ == name
        assert name in dir(jetlane)
    with pytest.raises(AttributeError, match="no attribute 'convrt'"):
        _ = jetlane.convrt  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: jetlane.convert("absent.pb", "absent.config", "out"), "absent.config"),
        (lambda: jetlane.derive_plugins("absent.config", normalize="board"), "normalize is 'board'"),
        (lambda: jetlane.read_release("absent"), "absent is not a release"),
        (lambda: jetlane.deliver("absent", "absent.yaml", "nano"), "absent.yaml"),
        (lambda: jetlane.roll_out("absent", "absent.yaml", waves=["none"]), "waves"),
        (lambda: jetlane.Detector("absent"), "holds no active release"),
        (lambda: jetlane.from_coco([{"bbox": [0, 0, 1, 1]}], 10, 10), "COCO entry"),
        (lambda: jetlane.from_coco([{"image_id": 1}, {"image_id": 2}], 10, 10), "several images"),
    ],
)
def test_every_failure_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[], object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(jetlane.JetlaneError) as failed:
        call()
    assert words in str(failed.value) and failed.value.what


def test_detections_compare_by_value_and_have_no_hash() -> None:
    some = jetlane.Detections([[0, 0, 1, 1], [0, 0, 0.5, 0.5]], [1, 2], [0.5, 0.9])
    same = jetlane.Detections([[0, 0, 0.5, 0.5], [0, 0, 1, 1]], [2, 1], [0.9, 0.5])
    assert some == same and some != jetlane.Detections([], [], []) and some != "detections"
    assert [(one.label, one.score) for one in some] == [(2, pytest.approx(0.9)), (1, 0.5)]
    with pytest.raises(TypeError):
        hash(some)
