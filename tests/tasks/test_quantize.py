"""An int8 release carries the quantised network where it finds on the workstation what boards will ask of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tests.tensorrt.precision import SEED, UNSEEN_SEED, drawn

from jetlane.specs.schema import Build, Model, RunSpec, Verify
from jetlane.tasks import preflight
from jetlane.tasks.convert import convert
from jetlane.tasks.export import given_model
from jetlane.tasks.plugins import params_of, plugins
from jetlane.tasks.proof.sample_images import Images
from jetlane.tasks.quantize import MODEL, quantized
from jetlane.tasks.release import backends_of
from jetlane.tasks.run.context import Run


@pytest.fixture
def compared(shared_data: Path, tmp_path: Path) -> Any:
    """Quantises a trained network and holds it against itself: (step, facts, backends of a release)."""
    from PIL import Image

    folder = shared_data / "graphs" / "trained_A_t13_v2_160_c3"
    files = {"frozen_graph": "frozen_inference_graph.pb", "pipeline_config": "pipeline.config"}
    model = Model(**{key: str(folder / name) for key, name in files.items()})
    seen = drawn(20, UNSEEN_SEED)
    images = Images([one.pixels for one in seen], [one.truth for one in seen], [0], [""] * len(seen))

    def run(precision: str, calibrated_with: Any = None, **verify: Any) -> tuple[Any, dict[str, Any], list[str]]:
        pictures = tmp_path / f"pictures-{precision}-{calibrated_with is None}"
        pictures.mkdir(exist_ok=True)
        for number, one in enumerate(drawn(20, SEED)):
            pixels = one.pixels if calibrated_with is None else np.full_like(one.pixels, calibrated_with)
            Image.fromarray(pixels).save(pictures / f"{number}.png")
        spec = RunSpec(
            name="int8",
            model=model,
            build=Build(precision=precision),
            verify=Verify(images=[str(path) for path in sorted(pictures.iterdir())], **verify),
            workspace=str(tmp_path / "workspace"),
        )
        with Run(spec) as current:
            given = given_model(current)
            parameters = plugins.__wrapped__(current, given)
            converted = convert.__wrapped__(current, given, parameters)
            made = quantized(current, None, parameters, converted)
            facts: dict[str, Any] = {}
            if made is not None:
                params = params_of(parameters)
                facts["quantized"] = dict(preflight._compare_quantized(current, converted, made, params, images))
            proof: Any = SimpleNamespace(facts=facts)
            return made, facts, backends_of(current, converted, proof, preflight.quantized_of(proof, made))

    return run


def test_it_is_a_backend_where_it_holds_and_is_made_once(compared: Any) -> None:
    made, facts, backends = compared("int8")
    assert facts["quantized"]["agreed"], facts
    assert facts["quantized"]["matched"] > 20 and facts["quantized"]["mAP@0.5"]["images"] == 20
    assert "onnx_int8" in backends and made.facts == {"images": 20, "obstacle": None}
    again, _, _ = compared("int8")
    assert again.cached and again.file(MODEL) == made.file(MODEL)


def test_it_is_left_out_where_it_does_not_or_was_not_asked_for(compared: Any) -> None:
    _, facts, backends = compared("int8", calibrated_with=127)
    assert not facts["quantized"]["agreed"] and "detections have no partner" in facts["quantized"]["why"]
    assert "onnx_int8" not in backends and "onnx" in backends
    made, _, backends = compared("fp16")
    assert made is None and "onnx_int8" not in backends
