"""Step ``quantize``: the network with quantisers in it, for boards that build int8 from ONNX."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.plugins import params_of
from jetlane.tasks.proof import sample_images
from jetlane.tasks.proof.sample_images import ImageSource, calibration_source, load_calibration
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counting import counting
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import INFERENCE, versions
from jetlane.tasks.run.workspace import StepResult, write_atomic

CODE = (
    "jetlane.tasks.quantize",
    "jetlane.tasks.converter.lowering.last_convolutions",
    "jetlane.tasks.converter.lowering.quantized",
    "jetlane.remote.agent.detect.image",
    *sample_images.CODE,
)
_WHOLE, MODEL = "model.trt.onnx", "model.trt.int8.onnx"


def quantized(
    run: Run, data: Optional[StepResult], parameters: StepResult, converted: StepResult
) -> Optional[StepResult]:
    """The quantised network; None where the spec builds in another precision."""
    return quantize(run, data, parameters, converted) if run.spec.build.precision == "int8" else None


@step("quantize")
def quantize(run: Run, data: Optional[StepResult], parameters: StepResult, converted: StepResult) -> StepResult:
    """Measure how large the network's values get, and write it with quantisers; where that fails, why.

    Raises:
        DatasetError: An image cannot be read.
    """
    source, count = calibration_source(run.spec, data), run.spec.build.calibration
    return run.step(
        "quantize",
        inputs={"model": converted.digest(_WHOLE), "plugins": parameters.digest(), "images": source.digest},
        params={"calibration": count},
        code=CODE,
        tools=versions((*INFERENCE, "onnx")),
        make=lambda out: _quantize(run, source, count, parameters, converted, out),
        describe=lambda result: result.facts["obstacle"] or f"{MODEL}, by {result.facts['images']} images",
    )


def _quantize(
    run: Run, source: ImageSource, count: int, parameters: StepResult, converted: StepResult, out: Path
) -> Mapping[str, Any]:
    import onnx

    from jetlane.remote.agent.detect.image import to_input
    from jetlane.tasks.converter.lowering.quantized import to_int8

    images, spec = load_calibration(source, count), asdict(params_of(parameters).input)

    def fed() -> Iterator[np.ndarray[Any, Any]]:
        for image in images:
            yield to_input(image, spec)[0]

    whole = onnx.ModelProto.FromString(converted.file(_WHOLE).read_bytes())
    obstacle = None
    try:
        made = to_int8(whole, fed(), counting(run, "quantize", len(images)))
        write_atomic(out / MODEL, made.SerializeToString())
    except ConversionError as error:
        obstacle = f"{error.what}: {error.why}"
    return {"images": len(images), "obstacle": obstacle}
