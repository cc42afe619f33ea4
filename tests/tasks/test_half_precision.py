"""The fp16 network goes into a release where it was asked for and finds what it finds in fp32."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from jetlane.specs.schema import Build, Model, RunSpec, Verify
from jetlane.tasks import preflight
from jetlane.tasks.convert import convert
from jetlane.tasks.export import given_model
from jetlane.tasks.plugins import params_of, plugins
from jetlane.tasks.release import backends_of
from jetlane.tasks.run.context import Run


@pytest.fixture
def compared(shared_data: Path, tmp_path: Path) -> Any:
    """Converts a trained network and holds its fp16 form against it: (facts, backends of a release)."""
    folder = shared_data / "graphs" / "trained_F_t215_v2_160_c3"
    files = {"frozen_graph": "frozen_inference_graph.pb", "pipeline_config": "pipeline.config"}
    model = Model(**{key: str(folder / name) for key, name in files.items()})
    pictures = sorted((shared_data / "graphs" / "images").glob("*"))[:3]

    def run(precision: str, **verify: Any) -> tuple[dict[str, Any], list[str]]:
        from PIL import Image

        images = [np.asarray(Image.open(path).convert("RGB")) for path in pictures if path.suffix in (".png", ".jpg")]
        images += [np.random.default_rng(1).integers(0, 255, (120, 160, 3), dtype=np.uint8)]
        spec = RunSpec(
            name="half",
            model=model,
            build=Build(precision=precision),
            verify=Verify(**verify),
            workspace=str(tmp_path / "workspace"),
        )
        with Run(spec) as current:
            given = given_model(current)
            parameters = plugins.__wrapped__(current, given)
            converted = convert.__wrapped__(current, given, parameters)
            facts: dict[str, Any] = {}
            if precision == "fp16":
                facts["half"] = dict(preflight._compare_half(current, converted, params_of(parameters), images))
            proof = SimpleNamespace(facts=facts)
            return facts, backends_of(current, converted, proof)  # type: ignore[arg-type]

    return run


def test_it_is_a_backend_where_it_holds(compared: Any) -> None:
    facts, backends = compared("fp16", threshold=0.05)
    assert facts["half"]["agreed"] and facts["half"]["why"] == "" and facts["half"]["matched"] > 0
    assert facts["half"]["min_iou"] == 0.95 and "onnx_fp16" in backends


def test_it_is_left_out_where_it_does_not_or_was_not_asked_for(compared: Any) -> None:
    facts, backends = compared("fp16", threshold=0.05, iou=1.0, score=0.0)
    assert not facts["half"]["agreed"] and "of fp32 are missing" in facts["half"]["why"]
    assert "onnx_fp16" not in backends and "onnx" in backends
    assert "onnx_fp16" not in compared("fp32")[1]
