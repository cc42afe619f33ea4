"""The numpy plugins against NVIDIA's own TensorRT 8.6.1: what its engines computed from our UFF files on a GPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jetlane.tasks.converter.ssd import plugins
from jetlane.tasks.converter.ssd.params import Nms

FOLDER = Path(__file__).resolve().parents[3] / "golden" / "tensorrt86"
CASES = sorted(path.name.partition("__")[0] for path in FOLDER.glob("*__uff_fp32_notf32.npz"))
#: Converted when softmax was still written as TensorRT 7.0 and later misread it: the scores are wrong.
SOFTMAX = ("F_t215_v2_softmax_160_c3", "G17_t12_i2_160_c6_softmax")


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{request.param}__uff_fp32_notf32.npz") as file:
        return {**file, "name": request.param}


def test_nms_finds_what_the_library_finds(case: dict[str, np.ndarray]) -> None:
    """Row by row, to the last place, with sizes rounded to half precision as the library does."""
    priors = case["priors"].size // 8
    given = [case[name].reshape(shape) for name, shape in (("loc", (1, -1, 1, 1)), ("conf", (1, -1, 1, 1)))]
    given.append(case["priors"].reshape(1, 2, -1, 1))
    params = Nms(
        num_classes=case["conf"].size // priors,
        top_k=100,
        keep_top_k=100,
        nms_threshold=0.6,
        confidence_threshold=0.3,
        conf_sigmoid=case["name"] not in SOFTMAX,
    )
    found, count = plugins.nms(*given, params, half_sizes=True)
    library = case["NMS"].reshape(found.shape)
    assert count.item() == case["NMS_1"].view(np.int32).item()
    np.testing.assert_allclose(found, library, rtol=0, atol=2e-7)
    exact, _ = plugins.nms(*given, params)
    assert np.array_equal(exact[..., :2], library[..., :2])
    assert np.abs(exact - library).max() < 1e-3, "a size of at most 1 is at most 0.14 % off"
