"""The live release measured anew, where it was measured on other validation data than the new model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.data.prepared import labels_of
from jetlane.tasks.proof import sample_images as images
from jetlane.tasks.proof.sample_images import image_source, load_images
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, sha256_file

CODE = (
    "jetlane.tasks.proof.baseline",
    "jetlane.tasks.proof.coco_map",
    "jetlane.tasks.odapi.child.infer",
    "jetlane.tasks.odapi.child.compat",
    *images.CODE,
)


@dataclass(frozen=True)
class Measured:
    """A model and what it was found to be worth.

    Attributes:
        model: Digest that tells it from other models.
        map50: mAP@0.5 on the validation data; None where there is none.
        validation: Digest of that data.
        labels: Names of its classes, in the order of their numbers; empty where they are not known.
        graph: Path of its frozen graph, for the day it is to be measured on other data.
        graph_digest: Digest of that file: a graph that was given lies where its owner may write another over it.
        classes: AP@0.5 by class name, of those that the validation data shows; empty where they are not known.
    """

    model: str
    map50: Optional[float]
    validation: Optional[str]
    labels: tuple[str, ...] = ()
    graph: str = ""
    graph_digest: str = ""
    classes: Mapping[str, float] = field(default_factory=dict)


def average_precisions(per_class: Mapping[str, Any]) -> dict[str, float]:
    """``Measured.classes`` of ``per_class`` as ``coco_map`` and ``evaluate`` give it."""
    return {name: one["AP@0.5"] for name, one in per_class.items() if one["AP@0.5"] is not None}


def measure_again(run: Run, live: Measured, data: Optional[StepResult], validation: str) -> Measured:
    """A live model's worth on this run's validation data; as it was where its graph is gone or another lies there.

    Args:
        validation: Digest of this run's validation data.
    """
    graph = Path(live.graph)
    if data is None or live.validation == validation or not live.graph or not graph.is_file():
        return live
    if sha256_file(graph) != live.graph_digest:
        return live
    source = image_source(run.spec, data)
    result = run.step(
        "baseline",
        inputs={"frozen_graph": live.graph_digest, "images": source.digest},
        params={},
        code=CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: _measure(run, graph, data),
        describe=lambda result: f"the live model has mAP@0.5 {result.facts['mAP@0.5']:.3f} on this validation data",
    )
    classes = average_precisions(result.facts["per_class"])
    return replace(live, map50=result.facts["mAP@0.5"], validation=validation, classes=classes)


def _measure(run: Run, graph: Path, data: StepResult) -> Mapping[str, Any]:
    from jetlane.tasks.proof.coco_map import mean_average_precision

    seen = load_images(image_source(run.spec, data), samples=1)
    found = run.odapi().infer(graph, seen.arrays)
    return mean_average_precision(seen.truth, found, labels_of(data.facts))
