"""Releases: named by their content, immutable, and checked to the last byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import ReleaseError
from jetlane.tasks.bundle.release import Tolerance, read_release, write_release
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams

PARAMS = PluginParams(InputSpec(160, 160), Nms(3, 100, 100, 0.6), 540, ((10, 10),), None)
FOUND = Detections([[0.1, 0.2, 0.3, 0.4], [0.1, 0.1, 0.9, 0.9]], [2, 1], [0.25, 0.9])


def write(out: Path, **changes: Any) -> str:
    given: dict[str, Any] = {
        "files": {"model.uff": b"uff", "model.onnx": b"onnx", "model.trt.onnx": b"trt", "config.py": "x = 1\n"},
        "samples": [np.full((20, 30, 3), 7, np.uint8), np.zeros((30, 20, 3), np.uint8)],
        "expected": [FOUND, Detections([], [], [])],
        "params": PARAMS,
        "labels": ["cat", "dog"],
        "metrics": {"map": 0.5},
        "sources": {"graph": "abc"},
        "tools": {"jetlane": "0.1.0"},
    }
    return write_release(out, "demo", **{**given, **changes})


def test_holds_what_the_architecture_says(tmp_path: Path) -> None:
    identity = write(tmp_path)
    release = read_release(tmp_path / identity)
    assert release.id == identity and release.labels == ["cat", "dog"]
    assert sorted(release.manifest["files"]) == [
        "__pycache__", "config.py", "deepstream/Makefile", "deepstream/README.txt",
        "deepstream/config_infer_primary_ds5.txt", "deepstream/config_infer_primary_ds6.txt",
        "deepstream/config_infer_primary_ds7.txt", "deepstream/labels.txt", "deepstream/model.h",
        "deepstream/nvdsinfer_jetlane.cpp", "expected.json", "jetlane_runtime.py", "labels.txt", "metrics.json",
        "model.onnx", "model.trt.onnx", "model.uff", "plugins.json", "samples/000.npy", "samples/001.npy",
    ]  # fmt: skip
    assert release.manifest["backends"] == {"uff": "model.uff", "onnx": "model.trt.onnx", "cpu": "model.onnx"}
    assert "uff_not_on" not in release.manifest
    assert release.manifest["tolerances"]["fp32"] == {"iou": 0.99, "score": 0.005}
    assert release.manifest["input"]["height"] == 160 and release.manifest["nms"]["keep_top_k"] == 100
    assert PluginParams.from_json(json.loads(release.file("plugins.json").read_text())) == PARAMS
    assert np.load(release.file("samples/000.npy")).shape == (20, 30, 3)
    assert release.file("labels.txt").read_text() == "cat\ndog\n"
    first, second = release.expected
    assert first.labels.tolist() == [1] and len(second) == 0, "what is below the threshold does not count"
    np.testing.assert_array_equal(first.boxes, FOUND.boxes[:1])
    assert not any(path.stat().st_mode & 0o222 for path in (tmp_path / identity).rglob("*") if path.is_file())
    assert [path.name for path in tmp_path.iterdir()] == [identity]


def test_samples_keep_the_users_names(tmp_path: Path) -> None:
    named, unnamed = read_release(tmp_path / write(tmp_path, origins=["line 3/IMG 1.jpg", None])).samples
    assert (named.origin, unnamed.origin) == ("line 3/IMG 1.jpg", None)


def test_says_which_versions_of_tensorrt_misread_its_uff(tmp_path: Path) -> None:
    rules = [{"from": "5.0", "below": "6.0", "patterns": ["LeakyRelu"]}]
    assert read_release(tmp_path / write(tmp_path, uff_not_on=rules)).manifest["uff_not_on"] == rules


def test_the_same_content_has_the_same_id_and_other_content_another(tmp_path: Path) -> None:
    identity = write(tmp_path / "a")
    before = (tmp_path / "a" / identity / "model.onnx").stat().st_mtime_ns
    assert write(tmp_path / "b") == write(tmp_path / "a") == identity
    assert (tmp_path / "a" / identity / "model.onnx").stat().st_mtime_ns == before, "an existing release is left alone"
    (tmp_path / "model").write_bytes(b"uff")
    files = {"model.uff": tmp_path / "model", "model.onnx": b"onnx", "model.trt.onnx": b"trt", "config.py": "x = 1\n"}
    assert write(tmp_path / "c", files=files) == identity
    changes: list[dict[str, Any]] = [
        {"files": {**files, "model.uff": b"other"}},
        {"labels": ["dog", "cat"]},
        {"metrics": {"map": 0.6}},
        {"threshold": 0.4},
        {"tolerances": {"fp32": Tolerance(0.95, 0.01)}},
        {"backends": ["onnx", "cpu"]},
        {"precision": "fp16"},
        {"params": PARAMS.with_nms(top_k=90)},
        {"samples": [np.full((20, 30, 3), 8, np.uint8), np.zeros((30, 20, 3), np.uint8)]},
        {"expected": [FOUND, FOUND]},
    ]
    assert len({identity, *(write(tmp_path / "d", **change) for change in changes)}) == len(changes) + 1


def test_a_uff_may_travel_without_being_a_backend(tmp_path: Path) -> None:
    release = read_release(tmp_path / write(tmp_path, backends=["onnx", "cpu"]))
    assert "model.uff" in release.manifest["files"] and "uff" not in release.manifest["backends"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model.uff", b"uFf", r"altered: model\.uff changed"),
        ("samples/001.npy", b"", r"altered: samples/001\.npy changed"),
        ("labels.txt", None, r"altered: labels\.txt missing"),
        ("more.txt", b"x", r"altered: more\.txt not in the manifest"),
        ("manifest.json", b"{}", "lacks format"),
        ("manifest.json", b"\xff", "cannot be read"),
        ("manifest.json", None, "is not a release"),
    ],
)
def test_every_tampering_is_seen(tmp_path: Path, file: str, change: bytes | None, message: str) -> None:
    folder = tmp_path / write(tmp_path)
    path = folder / file
    if path.exists():
        path.unlink()
    if change is not None:
        path.write_bytes(change)
    with pytest.raises(ReleaseError, match=message):
        read_release(folder)


def test_a_renamed_release_is_no_release(tmp_path: Path) -> None:
    folder = tmp_path / write(tmp_path)
    other = folder.rename(folder.with_name("demo-000000000000"))
    with pytest.raises(ReleaseError, match="was changed after the release was made"):
        read_release(other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": []}, "0 sample images and 2 sets"),
        ({"samples": [np.zeros((4, 4, 3), np.float32)] * 2}, "sample 0 has shape"),
        ({"labels": ["cat"]}, "1 labels for 2 classes"),
        ({"files": {"config.py": "x"}}, "no model for any backend"),
        ({"files": {"model.onnx": b"x"}, "backends": ["uff"]}, "no model for uff"),
        ({"files": {"model.onnx": Path("/nowhere/model.onnx")}}, r"no such file: /nowhere/model\.onnx"),
        ({"files": {"model.onnx": b"x", "../evil": b"x"}}, "names the file '../evil'"),
        ({"tolerances": {"fp8": Tolerance(1, 0)}}, "tolerances are given for fp8"),
    ],
)
def test_what_cannot_be_a_release_is_refused_and_leaves_nothing(tmp_path: Path, changes: dict, message: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(ReleaseError, match=message):
        write(out, **changes)
    assert not out.exists() or not list(out.iterdir())
    assert not (tmp_path / "evil").exists()
