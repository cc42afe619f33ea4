"""What int8 and fp16 add to a release: calibration images, what the samples show, tolerances, a backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent import manifest as manifests
from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import ReleaseError
from jetlane.tasks.bundle.release import TOLERANCES, Tolerance, read_release, write_release
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams
from jetlane.tasks.proof.coco_map import GroundTruth

PARAMS = PluginParams(InputSpec(160, 160), Nms(3, 100, 100, 0.6), 540, ((10, 10),), None)
FOUND = Detections([[0.1, 0.2, 0.3, 0.4]], [2], [0.9])
TRUTH = GroundTruth(np.array([[0.1, 0.2, 0.3, 0.5]], np.float32), np.array([2], np.int32), (20, 30), np.array([True]))
IMAGES = [np.full((20, 30, 3), value, np.uint8) for value in (3, 5, 7)]


def write(out: Path, **more: Any) -> Path:
    identity = write_release(
        out,
        "demo",
        files={"model.trt.onnx": b"whole", "model.trt.fp16.onnx": b"half", "model.onnx": b"onnx"},
        samples=IMAGES[:2],
        expected=[FOUND, FOUND],
        params=PARAMS,
        labels=["cat", "dog"],
        **more,
    )
    return out / identity


def test_calibration_images_travel_and_are_named_in_the_manifest(tmp_path: Path) -> None:
    folder = write(tmp_path, calibration=IMAGES, precision="int8")
    release = read_release(folder)
    assert release.manifest["calibration"] == [f"calibration/00{number}.npy" for number in range(3)]
    for path, image in zip(release.manifest["calibration"], IMAGES):
        assert path in release.manifest["files"]
        np.testing.assert_array_equal(np.load(release.file(path)), image)
    assert release.manifest["backends"]["onnx_fp16"] == "model.trt.fp16.onnx"
    plain = read_release(write(tmp_path, backends=["onnx", "cpu"]))
    assert "calibration" not in plain.manifest and "onnx_fp16" not in plain.manifest["backends"]
    (folder / "calibration" / "001.npy").chmod(0o600)
    (folder / "calibration" / "001.npy").write_bytes(b"")
    with pytest.raises(ReleaseError, match=r"calibration/001\.npy changed"):
        read_release(folder)


def test_a_manifest_that_names_no_file_of_its_own_for_calibration_is_refused(tmp_path: Path) -> None:
    manifest = dict(read_release(write(tmp_path, calibration=IMAGES)).manifest)
    for wrong in (["../secret.npy"], ["calibration/009.npy"], "calibration/000.npy", [7]):
        raw = json.dumps(dict(manifest, calibration=wrong)).encode()
        with pytest.raises(Exception, match="calibration"):
            manifests.parse(raw, manifests.release_id("demo", raw))


def test_what_the_samples_show_travels_where_it_is_known(tmp_path: Path) -> None:
    expected = json.loads((write(tmp_path, truth=[TRUTH, None]) / "expected.json").read_text())
    first, second = expected["samples"]
    assert first["truth"]["labels"] == [2] and first["truth"]["crowd"] == [True]
    assert "truth" not in second
    assert GroundTruth.from_json(first["truth"]).size == (20, 30)


def test_tolerances_say_more_where_more_is_meant(tmp_path: Path) -> None:
    asked = {**TOLERANCES, "fp16": Tolerance(0.9, 0.05)}
    manifest = read_release(write(tmp_path, tolerances=asked)).manifest
    assert manifest["tolerances"] == {
        "fp32": {"iou": 0.99, "score": 0.005},
        "fp16": {"iou": 0.9, "score": 0.05},
        "int8": {"iou": 0.9, "score": 0.1, "matched": 0.95, "map_drop": 0.02},
    }


def test_a_calibration_image_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="calibration image 1 has shape"):
        write(tmp_path, calibration=[IMAGES[0], np.zeros((3, 20, 30), np.float32)])
