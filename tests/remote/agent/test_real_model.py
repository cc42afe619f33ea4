"""A model that the Object Detection API trained, converted and delivered: the board finds what TensorFlow found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.device.delivery import deliver
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.virtual import fleet as virtual
from jetlane.tasks.bundle.release import write_release
from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd.params import PluginParams

CASE = "trained_F_t215_v2_160_c3"


@pytest.fixture(scope="module")
def real_release(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Expected detections are TensorFlow's own, as stored with the graph."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("real")
    graph = shared_data / "graphs" / CASE
    facts = convert_model(graph / "frozen_inference_graph.pb", graph / "pipeline.config", folder / "converted")
    images = [
        np.asarray(Image.open(path).convert("RGB")) for path in sorted((shared_data / "graphs" / "images").iterdir())
    ]
    names = ("model.uff", "model.uff.pbtxt", "model.onnx", "model.trt.onnx", "config.py")
    files: dict[str, Any] = {name: folder / "converted" / name for name in names}
    identity = write_release(
        folder,
        "shapes",
        files={**files, "pipeline.config": graph / "pipeline.config"},
        samples=images,
        expected=_stored(graph / "reference.npz", len(images)),
        params=PluginParams.from_json(facts["plugins"]),
        labels=["circle", "square", "triangle"],
    )
    return folder / identity


def _stored(path: Path, count: int) -> list[Detections]:
    found = []
    with np.load(path) as reference:
        for number in range(count):
            boxes = reference[f"detection_boxes_{number}"][0][:, [1, 0, 3, 2]]
            labels, scores = reference[f"detection_classes_{number}"][0], reference[f"detection_scores_{number}"][0]
            found.append(Detections(boxes, labels.astype(np.int32), scores))
    return found


def test_a_board_finds_what_tensorflow_found(device: Device, real_release: Path) -> None:
    report = deliver(real_release, device)
    assert report.state == "active" and report.agreement["matched"] > 0
    assert report.agreement["lowest_iou"] >= 0.99 and report.agreement["largest_score_difference"] <= 0.005
    assert (report.agreement["missing"], report.agreement["surplus"], report.agreement["borderline"]) == (0, 0, 0)


def test_a_python_3_6_board_finds_it_too(tmp_path: Path, real_release: Path, python36: str) -> None:
    fleet = virtual.start(tmp_path / "board", python=python36)
    try:
        report = deliver(real_release, load_inventory(fleet.inventory).devices[0])
        assert report.board["python"].startswith("3.6.") and report.agreement["agreed"]
    finally:
        virtual.stop(fleet.folder)


@pytest.mark.sshd
def test_over_a_real_sshd(sshd: Any, real_release: Path) -> None:
    device = load_inventory(sshd.inventory).devices[0]
    assert deliver(real_release, device).agreement["agreed"]
    assert deliver(real_release, device).state == "unchanged"
