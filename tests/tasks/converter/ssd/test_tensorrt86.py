"""The numpy plugins against NVIDIA's own TensorRT 8.6.1: what its engines computed from our files on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.golden.unpack import golden

from jetlane.remote.agent.detect.detections import output_count
from jetlane.remote.agent.detect.nms import suppress
from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms

FOLDER = Path(__file__).resolve().parents[3] / "golden" / "tensorrt86"


def cases(backend: str) -> list[str]:
    return sorted(path.name.partition("__")[0] for path in FOLDER.glob(f"*__{backend}.npz"))


def ran(name: str, backend: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}__{backend}.npz") as file:
        return {**file}


@pytest.mark.parametrize("name", cases("uff"))
def test_nms_finds_what_the_library_finds(name: str) -> None:
    """Row by row, to the last place, with sizes rounded to half precision as the library does."""
    library = ran(name, "uff")
    priors = library["priors"].size // 8
    given = [library[one].reshape(shape) for one, shape in (("loc", (1, -1, 1, 1)), ("conf", (1, -1, 1, 1)))]
    given.append(library["priors"].reshape(1, 2, -1, 1))
    params = Nms(
        num_classes=library["conf"].size // priors,
        top_k=100,
        keep_top_k=100,
        nms_threshold=0.6,
        confidence_threshold=0.3,
        conf_sigmoid=has_sigmoid(name),
    )
    found, count = plugins.nms(*given, params, half_sizes=True)
    rows = library["NMS"].reshape(found.shape)
    assert count.item() == output_count(library["NMS_1"])[0]
    np.testing.assert_allclose(found, rows, rtol=0, atol=2e-7)
    exact, _ = plugins.nms(*given, params)
    assert np.array_equal(exact[..., :2], rows[..., :2])
    assert np.abs(exact - rows).max() < 1e-3, "a size of at most 1 is at most 0.14 % off"


@pytest.mark.parametrize("name", cases("onnx"))
def test_suppression_in_the_engine_finds_what_numpy_finds(name: str) -> None:
    """NMSDynamic_TRT, as the agent appends it to a model that ends at boxes and scores: the same to the last bit."""
    library = ran(name, "onnx")
    nms = {
        "background_label_id": 0, "top_k": 100, "keep_top_k": 100, "nms_threshold": 0.6, "is_normalized": True,
        "confidence_threshold": 0.3,
    }  # fmt: skip
    rows, count = suppress(library["boxes"][0], library["scores"][0], nms)
    assert count == output_count(library["NMS_1"])[0]
    np.testing.assert_array_equal(rows, library["NMS"].reshape(rows.shape))


def has_sigmoid(name: str) -> bool:
    config = (golden() / "graphs" / name / "pipeline.config").read_text()
    return "SOFTMAX" not in config
