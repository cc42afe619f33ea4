"""A Pad and a pooling behind it, lowered and run: the zeros count."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from tests.tasks.converter.graph.sketches import Sketch

from jetlane.tasks.converter.lowering.lower import lower_outputs
from jetlane.tasks.converter.ssd.params import InputSpec
from jetlane.tasks.converter.uff import convert_graph


@pytest.mark.parametrize("rows", [(1, 1), (0, 1), (1, 0)])
@pytest.mark.parametrize(("op", "reduce"), [("MaxPool", np.max), ("AvgPool", np.mean)])
def test_a_pooling_counts_the_zeros_of_the_pad_before_it(op, reduce, rows):
    pads = [(0, 0), rows, (1, 1), (0, 0)]
    g = Sketch()
    g.input("Input", (1, 3, 8, 8))
    g.with_const("lower", "Sub", "Input", np.float32(9))  # below zero everywhere
    g.with_const("pad", "Pad", "lower", np.array(pads, np.int32))
    g.add("y", op, "pad", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")
    model = lower_outputs(convert_graph(g.graph(), ["y"], {"Input": (1, 8, 8, 3)}), InputSpec(8, 8), ["y"])
    image = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    padded = np.pad(image.transpose(0, 2, 3, 1) - 9, pads)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_allclose(session.run(["y"], {"Input": image})[0], reduce(windows, (4, 5)), atol=2e-6)
