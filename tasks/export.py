"""Step ``export``: the trained checkpoint frozen into one graph, with the pipeline.config it was trained by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetlane.tasks.prefect_task import step
from jetlane.tasks.run import Run
from jetlane.tasks.train import CONFIG, checkpoint_digest, checkpoint_of
from jetlane.tasks.workspace import StepResult, sha256_file

CODE = (
    "jetlane.tasks.export",
    "jetlane.tasks.odapi.child.export",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.healing",
)
FROZEN = "frozen_inference_graph.pb"


@dataclass(frozen=True)
class FrozenModel:
    """A frozen graph and its config, exported here or given by the user, with the digest of each."""

    graph: Path
    config: Path
    graph_digest: str
    config_digest: str


@step("export")
def export(run: Run, trained: StepResult) -> StepResult:
    """Freeze the checkpoint.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.client import ExportJob

    job = (trained.file(CONFIG), checkpoint_of(trained))
    return run.step(
        "export",
        inputs={"checkpoint": checkpoint_digest(trained), "pipeline_config": trained.digest(CONFIG)},
        params={},
        code=CODE,
        make=lambda out: run.odapi().export(ExportJob(*job, out)),
        describe=lambda result: f"{result.facts['bytes'] / 1e6:.1f} MB, {result.facts['nodes']} nodes",
    )


def exported_model(exported: StepResult) -> FrozenModel:
    """What ``export`` made."""
    digests = exported.digest(FROZEN), exported.digest(CONFIG)
    return FrozenModel(exported.file(FROZEN), exported.file(CONFIG), *digests)


def given_model(run: Run) -> FrozenModel:
    """The spec's own frozen graph, instead of training one."""
    run.skip("the spec gives a frozen graph", "train", "evaluate", "export")
    model = run.spec.model
    assert model.frozen_graph is not None and model.pipeline_config is not None
    graph, config = Path(model.frozen_graph), Path(model.pipeline_config)
    return FrozenModel(graph, config, sha256_file(graph), sha256_file(config))
