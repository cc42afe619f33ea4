"""A small model with the outputs of a converted SSD: what a board must run, without the minutes that training takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, KEEP = 32, 8


def small_model(seed: int = 0, weight_bytes: int = 0) -> bytes:
    """An ONNX (opset 13, IR 8) whose detections depend on the image: NMS [1, 1, 8, 7] and NMS_1 int32 [1, 1, 1, 1].

    Args:
        weight_bytes: Adds about so many bytes of weights, to make an upload long.
    """
    rng = np.random.default_rng(seed)
    base = np.zeros((KEEP, 7), np.float32)
    base[:, 1] = rng.integers(1, 4, KEEP)
    base[:, 2] = np.linspace(0.9, 0.4, KEEP)
    base[:, 3:5] = rng.uniform(0.0, 0.4, (KEEP, 2))
    base[:, 5:] = base[:, 3:5] + rng.uniform(0.2, 0.4, (KEEP, 2))
    gain = np.zeros((KEEP, 7), np.float32)
    gain[:, 2], gain[:, 3:] = 0.02, 0.05
    padding = rng.standard_normal(max(weight_bytes // 4, 1)).astype(np.float32)
    constants = {
        "base": base[None, None],
        "gain": gain[None, None],
        "padding": padding,
        "zero": np.zeros(1, np.float32),
        "count": np.full((1, 1, 1, 1), KEEP - 1, np.int32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["Input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("ReduceMax", ["padding"], ["largest"], axes=[0], keepdims=1),
        helper.make_node("Mul", ["largest", "zero"], ["nothing"]),
        helper.make_node("Mul", ["gain", "mean"], ["shift"]),
        helper.make_node("Add", ["base", "shift"], ["rows"]),
        helper.make_node("Add", ["rows", "nothing"], ["NMS"]),
        helper.make_node("ReduceSum", ["mean"], ["scalar"], keepdims=1),
        helper.make_node("Mul", ["scalar", "zero"], ["none"]),
        helper.make_node("Cast", ["none"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Add", ["count", "whole"], ["NMS_1"]),
    ]
    return detector("small", nodes, SIZE, KEEP, constants)


def detector(name: str, nodes: list[onnx.NodeProto], size: int, keep: int, constants: dict[str, np.ndarray]) -> bytes:
    """A model with the input and the outputs of a converted SSD: NMS [1, 1, keep, 7] and NMS_1 [1, 1, 1, 1]."""
    outputs = [
        helper.make_tensor_value_info("NMS", TensorProto.FLOAT, [1, 1, keep, 7]),
        helper.make_tensor_value_info("NMS_1", TensorProto.INT32, [1, 1, 1, 1]),
    ]
    return _finished(name, nodes, size, outputs, constants)


def heads_model() -> bytes:
    """An ONNX that ends at ``boxes`` [1, 10, 4] and ``scores`` [1, 10, 4], as TensorRT 10 and later are given."""
    rng = np.random.default_rng(8)
    corners = rng.uniform(0.0, 0.5, (1, 10, 2))
    boxes = np.concatenate([corners, corners + 0.3], axis=2).astype(np.float32)
    scores = rng.uniform(0.0, 0.6, (1, 10, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["Input", "identity"], ["same"], name="same"),
        helper.make_node("Conv", ["same", "identity"], ["features"], name="features"),
        helper.make_node("ReduceMean", ["features"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Mul", ["mean", "small"], ["shift"]),
        helper.make_node("Add", ["base_boxes", "shift"], ["boxes"]),
        helper.make_node("Add", ["base_scores", "shift"], ["scores"]),
    ]
    identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    constants = {
        "identity": identity,
        "small": np.full(1, 0.01, np.float32),
        "base_boxes": boxes,
        "base_scores": scores,
    }
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 10, 4]) for name in ("boxes", "scores")]
    return _finished("heads", nodes, SIZE, outputs, constants)


def _finished(
    name: str,
    nodes: list[onnx.NodeProto],
    size: int,
    outputs: list[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray],
) -> bytes:
    inputs = [helper.make_tensor_value_info("Input", TensorProto.FLOAT, [1, 3, size, size])]
    tensors = [numpy_helper.from_array(value, constant) for constant, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model.SerializeToString()


def images(count: int = 4, seed: int = 5) -> list[np.ndarray]:
    """Sample images of two sizes, of different brightness."""
    rng = np.random.default_rng(seed)
    sizes = [(40, 60), (50, 30)]
    return [rng.integers(0, 40 + 50 * (number % 4), (*sizes[number % 2], 3), dtype=np.uint8) for number in range(count)]


def save_images(folder: Path) -> list[str]:
    """``images`` as files of a release: their paths in the folder."""
    (folder / "calibration").mkdir(exist_ok=True)
    files = [f"calibration/{number:03d}.npy" for number in range(4)]
    for file, image in zip(files, images()):
        np.save(folder / file, image)
    return files
