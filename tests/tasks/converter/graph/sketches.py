"""Small graphs of our own making, and where the real ones are."""

from __future__ import annotations

import numpy as np
from tests.golden.unpack import golden

from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, TfShape, const


def case_folder():
    """Where the real frozen graphs are, each in a folder of its own."""
    return golden() / "graphs"


def case_names():
    """Folders of real frozen graphs."""
    return sorted(path.parent.name for path in case_folder().glob("*/frozen_inference_graph.pb"))


class Sketch:
    """Writes small TensorFlow graphs: ``g.conv("c", "x", kernel)``."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, name, op, *inputs, **attrs):
        self.nodes.append(Node(name, op, inputs, attrs))
        return name

    def input(self, name, shape):
        return self.add(name, "Placeholder", dtype=FLOAT, shape=TfShape(shape))

    def const(self, name, value):
        self.nodes.append(const(name, np.asarray(value)))
        return name

    def conv(self, name, x, kernel, stride=1, padding="SAME", depthwise=False):
        op = "DepthwiseConv2dNative" if depthwise else "Conv2D"
        self.const(f"{name}/kernel", np.asarray(kernel, np.float32))
        return self.add(name, op, x, f"{name}/kernel", strides=[1, stride, stride, 1], padding=padding)

    def with_const(self, name, op, x, value):
        self.const(f"{name}/y", value)
        return self.add(name, op, x, f"{name}/y")

    def graph(self) -> Graph:
        return Graph(self.nodes)


def small_ssd(
    converter="Sigmoid",
    classes=2,
    logit_scale=None,
    slice_before=False,
    scales=(10.0, 10.0, 5.0, 5.0),
    size=(16, 16),
) -> Graph:
    """An SSD of two levels (8x8 and 4x4 of a 16x16 input) as older exports write it, without a resize loop."""
    g, rng = Sketch(), np.random.default_rng(3)
    g.input("image_tensor", (1, *size, 3))
    total = 0
    g.with_const("scale", "Mul", "image_tensor", np.float32(2 / 255))
    x = g.with_const("offset", "Sub", "scale", np.float32(1))
    boxes, logits = [], []
    for level, anchors in enumerate((3, 2)):
        kernel = rng.normal(size=(3, 3, 3 if level == 0 else 8, 8)).astype(np.float32) * 0.3
        g.conv(f"conv{level}", x, kernel, stride=2)
        for part in ("gamma", "beta", "mean", "variance"):
            g.const(f"bn{level}/{part}", rng.uniform(0.5, 1.5, 8).astype(np.float32))
        parts = [f"bn{level}/{part}" for part in ("gamma", "beta", "mean", "variance")]
        g.add(f"bn{level}", "FusedBatchNorm", f"conv{level}", *parts, epsilon=1e-3, is_training=False)
        x = g.add(f"relu{level}", "Relu6", f"bn{level}")
        size = tuple(-(-side // 2) for side in size)
        count = size[0] * size[1] * anchors
        total += count
        for kind, width, into in (("box", 4, boxes), ("class", classes + 1, logits)):
            g.conv(f"{kind}{level}/conv", x, rng.normal(size=(1, 1, 8, anchors * width)).astype(np.float32))
            g.const(f"{kind}{level}/bias", rng.normal(size=anchors * width).astype(np.float32))
            g.add(f"{kind}{level}/out", "BiasAdd", f"{kind}{level}/conv", f"{kind}{level}/bias")
            g.const(f"{kind}{level}/shape", np.array([1, count, width], np.int32))
            into.append(g.add(f"{kind}{level}/Reshape", "Reshape", f"{kind}{level}/out", f"{kind}{level}/shape"))
    g.const("axis", np.int32(1))
    g.add("boxes", "ConcatV2", *boxes, "axis")
    g.add("logits", "ConcatV2", *logits, "axis")
    _decoder(g, scales, total)
    _scores(g, converter, classes, logit_scale, slice_before)
    return g.graph()


def _decoder(g: Sketch, scales, count) -> None:
    corners = np.sort(np.random.default_rng(4).uniform(0, 1, (count, 2, 2)).astype(np.float32), axis=1)
    g.const("anchors", corners.reshape(-1, 4))
    g.const("perm", np.array([1, 0], np.int32))
    g.const("flat", np.array([-1, 4], np.int32))
    g.add("flat_boxes", "Reshape", "boxes", "flat")
    g.add("codes_t", "Transpose", "flat_boxes", "perm")
    g.add("anchors_t", "Transpose", "anchors", "perm")
    g.add("codes", "Unpack", "codes_t", axis=0, num=4)
    g.add("corners", "Unpack", "anchors_t", axis=0, num=4)
    g.add("ha", "Sub", "corners:2", "corners")
    g.add("wa", "Sub", "corners:3", "corners:1")
    refs = ("codes", "codes:1", "codes:2", "codes:3")
    for name, ref, scale in zip(("ty", "tx", "th", "tw"), refs, scales):
        g.with_const(name, "RealDiv", ref, np.float32(scale))
    g.add("eh", "Exp", "th")
    g.add("ew", "Exp", "tw")
    g.add("h", "Mul", "eh", "ha")
    g.add("w", "Mul", "ew", "wa")


def _scores(g: Sketch, converter, classes, logit_scale, slice_before) -> None:
    ref = "logits"
    if logit_scale is not None:
        ref = g.with_const("scaled", "RealDiv", ref, np.float32(logit_scale))
    g.const("begin", np.array([0, 0, 1], np.int32))
    g.const("size", np.array([-1, -1, -1], np.int32))
    if slice_before:
        ref = g.add("sliced", "Slice", ref, "begin", "size")
    if converter:
        ref = g.add("scores", converter, ref)
    if not slice_before:
        ref = g.add("sliced", "Slice", ref, "begin", "size")
    g.const("iou", np.float32(0.5))
    g.const("score", np.float32(0.25))
    g.const("limit", np.int32(7))
    for index in range(classes):
        g.add(f"nms{index}", "NonMaxSuppressionV3", "h", ref, "limit", "iou", "score")
