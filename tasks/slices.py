"""Step ``slices``: does the converted model find the objects in the images that ``gate.slices`` names?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import SpecError
from jetlane.tasks.data.prepared import split_files
from jetlane.tasks.plugins import params_of
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import INFERENCE, versions
from jetlane.tasks.run.workspace import StepResult

CODE = (
    "jetlane.tasks.slices",
    "jetlane.tasks.proof.slice_recall",
    "jetlane.tasks.proof.onnx_detector",
    "jetlane.tasks.data.examples",
    "jetlane.remote.agent.detect.detections",
    "jetlane.remote.agent.detect.image",
)
_MODEL = "model.onnx"


def refuse_empty_slices(run: Run, data: Optional[StepResult]) -> None:
    """Check before anything is trained that the spec's slices have images.

    Raises:
        SpecError: There is no validation data.
        DatasetError: A slice has no image.
    """
    from jetlane.tasks.proof.slice_recall import refuse_empty

    if not run.spec.gate.slices:
        return
    if data is None or not data.facts["validation"]:
        raise SpecError("gate.slices names validation images, and there are none", "", "give validation data")

    def check(out: Path) -> None:
        refuse_empty(split_files(data, "validation"), _patterns(run))

    run.workspace.step(  # all records are read for it: once
        "slice-names",
        inputs={"records": data.digest(*data.facts["validation"])},
        params=_patterns(run),
        code=CODE,
        make=check,
    )


@step("slices")
def slices(run: Run, data: StepResult, parameters: StepResult, converted: StepResult) -> StepResult:
    """Look at the images of every slice; the facts say what was found in each (``slice_recall.Recall``)."""
    asked = run.spec.gate.slices
    params = params_of(parameters)
    own = params.nms.confidence_threshold
    threshold = max(own, own if run.spec.verify.threshold is None else run.spec.verify.threshold)

    def look() -> Mapping[str, Any]:
        from jetlane.tasks.proof.onnx_detector import OnnxDetector
        from jetlane.tasks.proof.slice_recall import recall_of, samples_of

        detector = OnnxDetector(converted.file(_MODEL).read_bytes(), params.input)
        samples = samples_of(split_files(data, "validation"), _patterns(run))
        overlaps = {name: one.iou for name, one in asked.items()}
        found = recall_of(samples, detector.detect, threshold, overlaps)
        return {"slices": {name: recall.to_json() for name, recall in found.items()}}

    return run.step(
        "slices",
        inputs={
            "model": converted.digest(_MODEL),
            "plugins": parameters.digest(),
            "records": data.digest(*data.facts["validation"]),
        },
        params={
            "threshold": threshold,
            "slices": {name: [one.images, one.iou] for name, one in sorted(asked.items())},
        },
        code=CODE,
        tools=versions(INFERENCE),
        make=lambda out: look(),
        describe=_describe,
    )


def unmet(run: Run, looked: StepResult, labels: Mapping[int, str]) -> Iterator[str]:
    """Why the gate refuses the model: a sentence for each slice of which too little was found."""
    for name, found in looked.facts["slices"].items():
        least = run.spec.gate.slices[name].min_recall
        if found["recall"] < least:
            lost = [f"{one['image']} ({labels.get(one['label'], one['label'])})" for one in found["missed"]]
            more = f" and {len(lost) - 3} more" if len(lost) > 3 else ""
            yield (
                f"slice {name}: {found['found']} of {found['objects']} objects are found, "
                f"gate.slices.{name}.min_recall asks for {least:g}; missed in {', '.join(lost[:3])}{more}"
            )


def _patterns(run: Run) -> dict[str, list[str]]:
    return {name: list(one.images) for name, one in run.spec.gate.slices.items()}


def _describe(result: StepResult) -> str:
    found = result.facts["slices"].items()
    return "; ".join(f"{name}: {one['found']} of {one['objects']} objects" for name, one in found)
