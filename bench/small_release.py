"""A release of a detector that is small, yet finds what is there: coloured squares on a grid of cells.

It saves the minutes that training takes, where what is measured is delivery. A cell's score for a class is the mean of
that colour over the cell; the eight best go out as NMS_TRT would write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

#: Pixels of the input, of one cell, and detections.
SIZE, CELL, KEEP = 64, 16, 8
LABELS = ("red", "green", "blue")


def model() -> bytes:
    """An ONNX: Input [1, 3, 64, 64] in 0 .. 1 -> NMS [1, 1, 8, 7], NMS_1 int32 [1, 1, 1, 1]."""
    from onnx import TensorProto, helper
    from tests.remote.models import detector

    side = SIZE // CELL
    ys, xs = np.mgrid[0:side, 0:side].astype(np.float32) / side
    cells = np.stack([xs, ys, xs + 1 / side, ys + 1 / side], axis=-1).reshape(-1, 4)
    constants = {
        "flat": np.array([-1], np.int64),
        "keep": np.array([KEEP], np.int64),
        "per_class": np.array(len(cells), np.int64),
        "cells": cells.astype(np.float32),
        "row": np.array([KEEP, 1], np.int64),
        "one": np.array(1.0, np.float32),
        "zero": np.array(0.0, np.float32),
        "out": np.array([1, 1, KEEP, 7], np.int64),
        "threshold": np.array(0.3, np.float32),
        "count": np.array([1, 1, 1, 1], np.int64),
    }
    nodes = [
        helper.make_node("AveragePool", ["Input"], ["means"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Reshape", ["means", "flat"], ["scores"]),
        helper.make_node("TopK", ["scores", "keep"], ["best", "places"]),
        helper.make_node("Div", ["places", "per_class"], ["class"]),
        helper.make_node("Mod", ["places", "per_class"], ["cell"]),
        helper.make_node("Gather", ["cells", "cell"], ["boxes"]),
        helper.make_node("Cast", ["class"], ["class_f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["class_f", "one"], ["label"]),
        helper.make_node("Reshape", ["label", "row"], ["labels"]),
        helper.make_node("Reshape", ["best", "row"], ["column"]),
        helper.make_node("Mul", ["column", "zero"], ["image"]),
        helper.make_node("Concat", ["image", "labels", "column", "boxes"], ["rows"], axis=1),
        helper.make_node("Reshape", ["rows", "out"], ["NMS"]),
        helper.make_node("Greater", ["best", "threshold"], ["found"]),
        helper.make_node("Cast", ["found"], ["found_i"], to=TensorProto.INT32),
        helper.make_node("ReduceSum", ["found_i"], ["number"], keepdims=1),
        helper.make_node("Reshape", ["number", "count"], ["NMS_1"]),
    ]
    return detector("squares", nodes, SIZE, KEEP, constants)


def images(count: int = 4) -> list[np.ndarray]:
    """Dark uint8 [128, 96, 3] images with three squares each, of one colour each, as bright as no other."""
    rng, made = np.random.default_rng(7), []
    for number in range(count):
        image = rng.integers(0, 30, (128, 96, 3), dtype=np.uint8)
        for colour, cell in enumerate(rng.permutation(16)[:3]):
            y, x = 32 * (cell // 4), 24 * (cell % 4)
            image[y : y + 32, x : x + 24, colour] = 160 + 24 * colour + 4 * number
        made.append(image)
    return made


def write_small_release(out: Path, **more: Any) -> Path:
    """Write the release into ``out/<id>``; ``more`` goes to ``write_release``.

    Raises:
        SystemExit: The detector does not find the squares.
    """
    import onnxruntime

    from jetlane.remote.agent.detect.detections import Detections, output_count
    from jetlane.remote.agent.detect.image import to_input
    from jetlane.tasks.bundle.release import write_release
    from jetlane.tasks.converter.ssd.params import InputSpec, Nms, Normalization, PluginParams

    brightness = Normalization((1 / 255,) * 3, (0.0,) * 3)
    params = PluginParams(InputSpec(SIZE, SIZE, normalize=brightness), Nms(4, 8, KEEP, 0.6), 16, ((4, 4),), None)
    network, spec = model(), asdict(params.input)
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    samples, expected = images(), []
    for image in samples:
        pixels, content = to_input(image, spec)
        rows, count = session.run(["NMS", "NMS_1"], {"Input": pixels[None]})
        expected.append(Detections.from_nms(rows[0, 0], output_count(count)[0], content))
    if any(sorted(found.labels) != [1, 2, 3] for found in expected):
        raise SystemExit(f"the small detector finds {[list(found.labels) for found in expected]}, not 1, 2 and 3 each")
    files: Mapping[str, Any] = {"model.onnx": network, "config.py": "# none\n"}
    return out / write_release(
        out, "squares", files=files, samples=samples, expected=expected, params=params, labels=LABELS, **more
    )
