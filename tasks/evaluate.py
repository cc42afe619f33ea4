"""Step ``evaluate``: COCO metrics of the trained checkpoint on the validation data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.tasks.data.prepared import class_names, split_files
from jetlane.tasks.proof.baseline import Measured, average_precisions
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counting import counting
from jetlane.tasks.run.fitted_anchors import config_of
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, digest_of, write_atomic
from jetlane.tasks.train import CONFIG, checkpoint_digest, checkpoint_of

CODE = (
    "jetlane.tasks.evaluate",
    "jetlane.tasks.odapi.child.evaluate",
    "jetlane.tasks.odapi.child.coco_detail",
    "jetlane.tasks.odapi.child.class_metrics",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.widths",
)
KERAS_CODE = (
    *CODE,
    "jetlane.tasks.odapi.child.evaluate_keras",
    "jetlane.tasks.odapi.child.keras_model",
)


@step("evaluate")
def evaluate(run: Run, data: StepResult, trained: StepResult) -> StepResult:
    """Measure; ``metrics.json`` and the facts hold the numbers of pycocotools, curves and what is taken for what.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.loops import is_keras_text

    config = config_of(run, data)  # not the one trained by: post-processing may differ
    return run.step(
        "evaluate",
        inputs=what_is_measured(data, trained, config),
        params={},
        code=KERAS_CODE if is_keras_text(config) else CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: _evaluate(run, data, trained, config, out),
        describe=lambda result: f"mAP@0.5 {result.facts['mAP@0.5']:.3f}, mAP {result.facts['mAP']:.3f}",
    )


def _evaluate(run: Run, data: StepResult, trained: StepResult, config: str, out: Path) -> Mapping[str, Any]:
    write_atomic(out / CONFIG, config)
    metrics = measured(run, "evaluate", data, out / CONFIG, checkpoint_of(trained), out / "events")
    write_atomic(out / "metrics.json", json.dumps(metrics, indent=1, sort_keys=True))
    return metrics


def what_is_measured(data: StepResult, trained: StepResult, config: str) -> dict[str, str]:
    """A checkpoint on the validation set, as inputs of a step."""
    return {
        "checkpoint": checkpoint_digest(trained),
        "pipeline_config": digest_of(config),
        "records": data.digest(*data.facts["validation"]),
        "label_map": data.digest("label_map.pbtxt"),
    }


def measured(
    run: Run, step_name: str, data: StepResult, config: Path, checkpoint: Path, events: Path
) -> dict[str, Any]:
    """COCO's numbers of a checkpoint (prefix) on the validation set.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.client import EvaluateJob

    job = EvaluateJob(
        pipeline_config=config,
        validation_records=split_files(data, "validation"),
        label_map=data.file("label_map.pbtxt"),
        checkpoint=checkpoint,
        out=events,
    )
    images = int(data.facts["stats"].get("validation", {}).get("images", 0))
    return run.odapi().evaluate(job, counting(run, step_name, images))


def checkpoint_measured(evaluated: StepResult, data: StepResult, trained: StepResult) -> Measured:
    """The trained checkpoint and its mAP, for the gate."""
    return Measured(
        model=checkpoint_digest(trained),
        map50=evaluated.facts["mAP@0.5"] or 0.0,
        validation=data.digest(*data.facts["validation"]),
        labels=class_names(data),
        classes=average_precisions(evaluated.facts.get("per_class", {})),
    )
