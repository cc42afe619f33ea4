"""The lowered models against NVIDIA's TensorRT 8.6.1, which ran the UFF and ONNX files of the same graphs on a GPU.

float32, TensorRT's TF32 switched off.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tasks.converter.lowering.golden import far
from tests.tensorrt.cases import pixels_of
from tests.uffparser.graphs import allowed, heads

from jetlane.tasks.converter.ssd import plugins

FOLDER = Path(__file__).resolve().parents[3] / "golden" / "tensorrt86"
CASES = sorted(path.name.partition("__")[0] for path in FOLDER.glob("*__uff.npz"))


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, converted: Any) -> Any:
    return converted(request.param)


def ran(name: str, backend: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}__{backend}.npz") as file:
        return {**file}


def test_what_nms_is_given_is_what_the_lowering_says(case: Any) -> None:
    """Priors within 2e-7; boxes and scores, of the UFF and of the ONNX, within what rounding makes of them."""
    name, pixels = case.folder.name, pixels_of(case.folder, case.params.input)
    library = ran(name, "uff")
    if case.params.grid_anchor is not None:
        made = np.concatenate(plugins.grid_anchor(case.params.grid_anchor), axis=1).reshape(2, -1)
        assert far(made, library["priors"].reshape(2, -1)) <= 2e-7
    exact = case.in_float64(pixels)
    limits = allowed(case.heads(pixels), exact)
    given = {name: library[name].astype(np.float64) for name in ("loc", "conf", "priors")}
    assert all(far(*sides) <= most for *sides, most in zip(heads(given, case.params), exact, limits))
    if (FOLDER / f"{name}__onnx.npz").exists():
        onnx = ran(name, "onnx")
        found = [onnx[output].reshape(one.shape) for output, one in zip(("boxes", "scores"), exact)]
        assert all(far(*sides) <= most for *sides, most in zip(found, exact, limits))
