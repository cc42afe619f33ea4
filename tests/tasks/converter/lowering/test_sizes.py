"""Inputs of any form and any number of classes, from a frozen graph through UFF to ONNX."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tasks.converter.graph.sketches import small_ssd
from tests.tasks.converter.uff.interpreter import run
from tests.tasks.converter.uff.plugin_parameters import parameters

from jetlane.tasks.converter.graph.ssd import read_ssd
from jetlane.tasks.converter.lowering.lower import lower
from jetlane.tasks.converter.uff.files import uff_from_bytes, uff_to_bytes
from jetlane.tasks.converter.uff.from_graph import convert


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (41, 17), (97, 31)])
@pytest.mark.parametrize(("classes", "converter"), [(1, "Sigmoid"), (1, "Softmax"), (200, "Sigmoid"), (200, "Softmax")])
def test_from_a_frozen_graph_to_detections(size, classes, converter):
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = small_ssd(converter, classes, size=size)
    ssd = read_ssd(graph)
    maps = [tuple(-(-side // 2**level) for side in size) for level in (1, 2)]
    assert (ssd.feature_map_shapes, ssd.num_classes) == (tuple(maps), classes + 1)
    params = parameters(ssd, constant=True, confidence_threshold=0.01)
    uff = uff_from_bytes(uff_to_bytes(convert(graph, ssd, params)))
    image = np.random.default_rng(1).uniform(-1, 1, (1, *size, 3)).astype(np.float32)

    def of(ends: str) -> list[np.ndarray]:
        model = lower(uff, params, ends=ends).SerializeToString()
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return session.run(None, {"Input": image.transpose(0, 3, 1, 2)})

    logits = run(uff, {"Input": image}, [head.classes for head in ssd.heads])
    logits = np.concatenate([level.reshape(-1, classes + 1) for level in logits])
    boxes, scores = of("heads")
    assert boxes.shape == (1, ssd.num_priors, 4)
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected = 1 / (1 + np.exp(-logits)) if converter == "Sigmoid" else expected / expected.sum(1, keepdims=True)
    np.testing.assert_allclose(scores[0], expected, atol=1e-5)

    rows, count = of("nms")
    found = rows[0, 0, : count.item()]
    assert len(found) > 0 and set(found[:, 1]) <= set(range(1, classes + 1))
    for _, label, score, *_ in found:  # each is a prior's, of that class
        assert np.abs(scores[0, :, int(label)] - score).min() < 1e-6
