"""The golden graphs: NVIDIA's parser takes our UFF of each, and what it makes of it is what the lowering says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from tests.tasks.converter.lowering.golden import CASES, in_float64
from tests.uffparser.evaluate import nms_values
from tests.uffparser.parsing import parse

from jetlane.tasks.converter.convert import convert_model
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms, PluginParams

#: Largest difference, as a multiple of what the same network gives in float32 instead of float64.
MOST = 10.0
#: And where onnxruntime rounds otherwise than numpy: largest difference of both in float64; priors are float32 numbers.
EXACT = 5e-7


@pytest.fixture(scope="session", params=CASES)
def model(request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory):
    """(folder of a converted graph, its parameters)."""
    folder, out = shared_data / "graphs" / request.param, tmp_path_factory.mktemp(request.param)
    facts = convert_model(folder / "frozen_inference_graph.pb", folder / "pipeline.config", out)
    return out, PluginParams.from_json(facts["plugins"])


def test_the_parser_makes_of_it_what_the_lowering_says(version: str, model: tuple[Path, PluginParams]) -> None:
    import onnxruntime

    folder, params = model
    size = (3, params.input.height, params.input.width)
    image = np.random.default_rng(0).uniform(-1, 1, size).astype(np.float32)
    parsed = parse(version, (folder / "model.uff").read_bytes(), {"Input": size})
    assert parsed.network is not None, parsed.said
    session = onnxruntime.InferenceSession(str(folder / "model.trt.onnx"), providers=["CPUExecutionProvider"])
    wanted = session.run(["boxes", "scores"], {"Input": image[None]})
    fine, coarse = (_heads(nms_values(parsed.network, image, dtype), params) for dtype in (np.float64, np.float32))
    for found, rounded, lowered in zip(fine, coarse, wanted):
        rounding = max(np.abs(found - rounded).max(), np.finfo(np.float32).eps * max(1.0, np.abs(found).max()))
        if np.abs(found - lowered[0]).max() > MOST * rounding:  # then without any
            for one, other in zip(fine, in_float64(folder / "model.trt.onnx", image)):
                assert np.abs(one - other).max() <= EXACT
            return


def _heads(values: dict[str, np.ndarray], params: PluginParams) -> tuple[np.ndarray, np.ndarray]:
    """(boxes [priors, 4], scores [priors, classes]) of what NMS_TRT is given."""
    settings = Nms(**{**asdict(params.nms), "input_order": (0, 2, 1)})
    loc = values["loc"].reshape(-1, 1, 4)
    boxes = plugins.decode(loc, values["priors"].astype(loc.dtype), settings)[:, 0]
    scores = values["conf"].reshape(params.num_priors, params.nms.num_classes)
    return boxes, 1 / (1 + np.exp(-scores)) if params.nms.conf_sigmoid else scores
