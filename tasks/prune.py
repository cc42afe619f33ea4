"""Step ``prune``: the trained network with fewer channels; step ``retrain`` lets it make up for what it lost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.retraining import retraining
from jetlane.specs.schema_train import Prune
from jetlane.specs.support.local_files import read_json
from jetlane.tasks.evaluate import measured, what_is_measured
from jetlane.tasks.odapi.child.widths import SUFFIX
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.fitted_anchors import config_of
from jetlane.tasks.run.start_point import of_checkpoint
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, write_atomic
from jetlane.tasks.train import CONFIG, Again, checkpoint_of, trained

CODE = (
    "jetlane.tasks.prune",
    "jetlane.tasks.evaluate",
    "jetlane.tasks.odapi.child.prune",
    "jetlane.tasks.odapi.child.network",
    "jetlane.tasks.odapi.child.channels",
    "jetlane.tasks.odapi.child.channel_choice",
    "jetlane.tasks.odapi.child.widths",
    "jetlane.tasks.odapi.child.slots",
    "jetlane.tasks.odapi.child.evaluate",
    "jetlane.tasks.odapi.child.class_metrics",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
)
_CHECKPOINT = "model.ckpt"
#: Keys that choose channels; the others are of the training afterwards.
_AFTERWARDS = {"steps", "learning_rate"}


def smaller(run: Run, data: StepResult, dense: StepResult) -> StepResult:
    """The training that the run goes on with: the given one, or that of the network pruned after it.

    A network that was pruned by the same settings before, as a live one that is trained on, is left as it is.

    Raises:
        TrainingError: The network cannot be pruned, or its training fails.
    """
    asked = run.spec.train.prune
    if asked is None:
        return dense
    if _pruned_by(dense) == _settings(asked):
        run.skip("what the training started from was pruned so before", "prune", "retrain")
        return dense
    return retrain(run, data, dense, prune(run, data, dense))


@step("prune")
def prune(run: Run, data: StepResult, dense: StepResult) -> StepResult:
    """Remove the weakest channels, and measure what that costs.

    Raises:
        TrainingError: The network cannot be pruned.
    """
    assert run.spec.train.prune is not None
    settings, config = _settings(run.spec.train.prune), config_of(run, data)
    return run.step(
        "prune",
        inputs=what_is_measured(data, dense, config),
        params=settings,
        code=CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: _prune(run, data, dense, settings, config, out),
        describe=_described,
    )


@step("retrain")
def retrain(run: Run, data: StepResult, dense: StepResult, pruned: StepResult) -> StepResult:
    """Train the pruned network.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    again = Again(of_checkpoint(pruned.file(f"{_CHECKPOINT}.index").with_suffix(""), "the pruned network"), dense)
    asked, run.spec = run.spec, retraining(run.spec)
    try:
        return trained(run, data, again=again)
    finally:
        run.spec = asked


def _settings(asked: Prune) -> dict[str, Any]:
    return asked.model_dump(mode="json", exclude=_AFTERWARDS)


def _pruned_by(dense: StepResult) -> Optional[Mapping[str, Any]]:
    """What a training's network was pruned by before it; None where it never was."""
    name = f"{dense.facts['checkpoint']}{SUFFIX}"
    table = read_json(dense.file(name)) if name in dense.outputs else None
    return table.get("settings") if isinstance(table, dict) else None


def _prune(
    run: Run, data: StepResult, dense: StepResult, settings: Mapping[str, Any], config: str, out: Path
) -> Mapping[str, Any]:
    from jetlane.tasks.odapi.client import PruneJob

    write_atomic(out / CONFIG, config)
    job = PruneJob(out / CONFIG, checkpoint_of(dense), out / _CHECKPOINT, settings)
    facts = run.odapi().prune(job)
    worth = [
        measured(run, "prune", data, out / CONFIG, checkpoint, out / "events" / which)
        for which, checkpoint in (("before", job.checkpoint), ("after", job.out))
    ]
    return {**facts, "map50": [found["mAP@0.5"] for found in worth], "map": [found["mAP"] for found in worth]}


def _described(result: StepResult) -> str:
    before, after = result.facts["parameters"]
    first, then = result.facts["map50"]
    return (
        f"{before:,} parameters to {after:,} ({1 - after / before:.0%} fewer); mAP@0.5 {first:.3f} to {then:.3f}, "
        "before it is trained again"
    )
