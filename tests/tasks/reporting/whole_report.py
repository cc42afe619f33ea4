"""Facts of a run that has everything a report can show, and the release and the preflight folder that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.proof.worst_pairs import worst_pairs
from jetlane.tasks.reporting.report import MAP50
from jetlane.tasks.run.facts import DECIDED, MADE, DeviceFacts, RunFacts, StepFacts

HOSTILE = "<script>alert(1)</script>"
LABELS = ("circle", "square", HOSTILE)
NAMES = ("IMG 0001.jpg", "line 3/cam<1>.png", "IMG 0003.jpg")
SIZES = ((180, 320), (240, 200), (1080, 1920))
RELEASE, BEFORE = "shapes-0123456789abcdef0123456789abcdef", "shapes-fedcba9876543210fedcba9876543210"
#: What TensorFlow found in every sample: three boxes side by side, two of them one over the other.
FOUND = {
    "boxes": [[0.1, 0.2, 0.4, 0.7], [0.12, 0.22, 0.42, 0.72], [0.6, 0.3, 0.9, 0.8]],
    "labels": [1, 3, 2],
    "scores": [0.91, 0.47, 0.88],
}
#: What is really there: one of it was not found.
TRUTH = {"boxes": [[0.1, 0.2, 0.4, 0.7], [0.45, 0.05, 0.55, 0.15]], "labels": [1, 2], "crowd": [False, False]}


def whole_facts(folder: Path) -> RunFacts:
    """A run in ``folder``: trained from a checkpoint, better than before, on a virtual and a real board."""
    arrays = _release(folder / "release")
    _preflight(folder / "preflight", arrays)
    return RunFacts(
        name="shapes",
        spec={"name": "shapes", "gate": {"min_map": 0.5, "margin": 0.01, "min_class_map": 0.2, "class_margin": 0.1}},
        started="2026-01-02T03:04:05+00:00",
        seconds=299.0,
        steps=(StepFacts("train", MADE, 70.0, "0" * 20), StepFacts("gate", DECIDED), StepFacts("deploy", MADE, 3.0)),
        labels=LABELS,
        dataset=_data(),
        anchor_fit=_anchors(),
        metrics={MAP50: 0.83},
        per_class={name: {"AP": 0.5, "AP@0.5": 0.8 + index / 20} for index, name in enumerate(LABELS)},
        curves={name: _curve() for name in LABELS},
        confusion={
            "classes": list(LABELS),
            "counts": [[20, 1, 0, 2], [0, 18, 0, 1], [0, 0, 9, 0], [3, 0, 1, 0]],
            "score": 0.3,
            "iou": 0.5,
        },
        loss_curve=((0, 10.0), (300, 1.0), (600, 0.1)),
        validation_curve=((200, 0.2, 0.5), (400, 0.4, 0.7), (600, 0.5, 0.83)),
        fine_tune={"loaded": 240, "skipped": [{"name": "BoxPredictor_0/biases", "model": [12], "checkpoint": [273]}]},
        pruning={
            "parameters": [1_000_000, 550_000],
            "multiply_adds": [90_000_000, 50_000_000],
            "map50": [0.84, 0.31, 0.83],
            "map": [0.61, 0.17, 0.6],
            "layers": [{"layer": f"FeatureExtractor/MobilenetV2/{HOSTILE}", "before": 96, "after": 64}],
        },
        network={"architecture": "ssd_mobilenet_v2", "classes": 3, "batch_size": 16, "steps": 600},
        gate={
            "passed": True,
            "forced": False,
            "map": 0.83,
            "min_map": 0.5,
            "margin": 0.01,
            "baseline": 0.8,
            "baseline_release": BEFORE,
            "reasons": (),
            "remark": "",
        },
        plugins={"input": {"width": 300, "height": 300}, "num_priors": 1917, "grid_anchor": {"num_layers": 6}},
        preflight={"agreement": {"matched": 9, "expected": 9, "images": 3, "missing": 0, "lowest_iou": 0.9993}},
        compared=str(folder / "preflight" / "compared.json"),
        release=RELEASE,
        release_path=str(folder / "release"),
        devices=_devices(),
        notes=("boards with TensorRT 11 are left out",),
    )


def _release(folder: Path) -> list[np.ndarray[Any, Any]]:
    (folder / "samples").mkdir(parents=True)
    samples, arrays = [], []
    for index, (height, width) in enumerate(SIZES):
        pixels = np.random.default_rng(index).integers(0, 255, (height, width, 3), np.uint8)
        np.save(folder / "samples" / f"{index:03}.npy", pixels)
        arrays.append(pixels)
        truth = {**TRUTH, "size": [height, width]}
        samples.append({"file": f"samples/{index:03}.npy", "origin": NAMES[index], **FOUND, "truth": truth})
    (folder / "expected.json").write_text(json.dumps({"threshold": 0.3, "samples": samples}))
    manifest = {
        "files": {"model.uff": {"size": 2_600_000}, "samples/000.npy": {"size": 172_928}},
        "sources": {"step dataset": "d" * 64, "frozen_graph": "f" * 64},
        "tools": {"tensorflow": "2.15.1", "jetlane": "0.2"},
        "serial": 7,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "manifest.sig").touch()
    return arrays


def _preflight(folder: Path, arrays: list[np.ndarray[Any, Any]]) -> None:
    folder.mkdir(parents=True)
    expected = [Detections(**FOUND) for _ in arrays]
    got = [Detections(FOUND["boxes"], FOUND["labels"], [0.91, 0.468, 0.88]) for _ in arrays]
    limits = {"threshold": 0.3, "min_iou": 0.99, "max_score_difference": 0.005}
    worst = [pair.to_json() for pair in worst_pairs(arrays, NAMES, expected, got, **limits)]
    compared = {"converted": [one.to_json() for one in got], "worst": worst}
    (folder / "compared.json").write_text(json.dumps(compared))


def _devices() -> tuple[DeviceFacts, ...]:
    agreement = {
        "matched": 9,
        "missing": 0,
        "lowest_iou": 0.9987,
        "threshold": 0.3,
        "tolerance": {"iou": 0.95, "score": 0.1},
        "precision": "fp16",
        "latency": {"runs": 30, "engine_median_ms": 4.25, "engine_p95_ms": 5.0, "input_median_ms": 1.5},
        "conditions": {"power_mode": {"name": "MAXN", "id": 0}, "temperatures": {"GPU-therm": 41.5}},
        "peak_memory": 512_000_000,
    }
    seen = tuple({**FOUND, "file": f"samples/{n:03}.npy", "scores": [0.9, 0.46, 0.86]} for n in range(len(SIZES)))
    real = DeviceFacts(
        name="nano-1",
        host="192.168.1.20:22",
        state="active",
        backend="uff",
        board={"model": "NVIDIA Jetson Nano Developer Kit", "l4t": "32.7.1", "tensorrt": {"version": "8.2.1.8"}},
        engine_key="ab" * 10,
        bytes_sent=17_600_000,
        seconds={"ship": 2.0, "build": 201.5, "verify": 3.0},
        agreement=agreement,
        previous=BEFORE,
        detections=seen,
    )
    virtual = DeviceFacts(
        "virtual-jetson-1", "127.0.0.1:2222", "active", backend="cpu", agreement=agreement, virtual=True
    )
    return real, virtual


def _data() -> dict[str, Any]:
    one = {
        "images": 60,
        "objects": 100,
        "objects_per_class": {"circle": 50, "square": 50},
        "image_sizes": {"320x180": 60},
        "box_side": {"min": 0.1, "q25": 0.2, "median": 0.3, "q75": 0.4, "max": 0.5},
        "without_objects": 1,
        "repeated": 0,
        "turned": 0,
    }
    return {"train": one, "validation": {**one, "images": 900}}


def _anchors() -> dict[str, Any]:
    bins = [
        {"low": 0.0, "high": 8.0, "objects": 0, "unmatched": 0},
        {"low": 8.0, "high": 16.0, "objects": 40, "unmatched": 10},
        {"low": 16.0, "high": None, "objects": 60, "unmatched": 0},
    ]
    return {
        "objects": 100,
        "matched": 0.9,
        "sides": bins,
        "ratios": bins,
        "lines": ["the anchors match 90.0% of 100 objects"],
    }


def _curve() -> dict[str, Any]:
    best = {"f1": 0.875, "score": 0.4, "precision": 0.9, "recall": 0.85}
    return {"precision": [1.0] * 70 + [0.9] * 21 + [0.0] * 10, "best": best}
