"""Step ``export``: the trained checkpoint frozen into one graph, with the pipeline.config it was trained by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jetlane.specs.errors import SpecError
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, digest_of, sha256_file
from jetlane.tasks.train import CONFIG, checkpoint_digest, checkpoint_of

CODE = (
    "jetlane.tasks.export",
    "jetlane.tasks.odapi.child.export",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
)
FREEZE_CODE = ("jetlane.tasks.export", "jetlane.tasks.odapi.child.freeze", "jetlane.tasks.odapi.child.compat")
FROZEN = "frozen_inference_graph.pb"


@dataclass(frozen=True)
class FrozenModel:
    """A frozen graph and its config, exported here or given by the user, with the sha256 of each."""

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
        tools=versions(TRAINING, run.python),
        make=lambda out: run.odapi().export(ExportJob(*job, out)),
        describe=lambda result: f"{result.facts['bytes'] / 1e6:.1f} MB, {result.facts['nodes']} nodes",
    )


def exported_model(exported: StepResult) -> FrozenModel:
    """What ``export`` made."""
    digests = exported.outputs[FROZEN], exported.outputs[CONFIG]
    return FrozenModel(exported.file(FROZEN), exported.file(CONFIG), *digests)


def given_model(run: Run) -> FrozenModel:
    """The spec's own frozen graph or SavedModel, instead of training one.

    Raises:
        DatasetError: The label map cannot be used; known here, before any work is done for it.
    """
    from jetlane.tasks.data.labels import read_label_map

    run.skip("the spec gives a model", "train", "evaluate", "export")
    if run.spec.dataset is not None and run.spec.dataset.label_map is not None:
        read_label_map(Path(run.spec.dataset.label_map))
    model = run.spec.model
    assert model.pipeline_config is not None
    config = Path(model.pipeline_config)
    if model.saved_model is not None:
        frozen = freeze(run, Path(model.saved_model))
        return FrozenModel(frozen.file(FROZEN), config, frozen.outputs[FROZEN], sha256_file(config))
    assert model.frozen_graph is not None
    graph = Path(model.frozen_graph)
    return FrozenModel(graph, config, sha256_file(graph), sha256_file(config))


@step("freeze")
def freeze(run: Run, saved_model: Path) -> StepResult:
    """A SavedModel's variables as constants, in one graph.

    Raises:
        SpecError: The folder is no SavedModel.
        TrainingError: It is damaged, or no detector.
    """
    if not (saved_model / "saved_model.pb").is_file():
        raise SpecError(
            f"model.saved_model: {saved_model} is no SavedModel",
            "it holds no saved_model.pb",
            "name the folder saved_model that the export made",
        )
    return run.step(
        "freeze",
        inputs={"saved_model": digest_of(_weights(saved_model))},
        params={},
        code=FREEZE_CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: run.odapi().freeze(saved_model, out),
        describe=lambda result: f"{result.facts['bytes'] / 1e6:.1f} MB, {result.facts['nodes']} nodes",
    )


def _weights(saved_model: Path) -> dict[str, str]:
    """What decides on the frozen graph, by path: the graph and its variables."""
    files = [saved_model / "saved_model.pb", *(saved_model / "variables").glob("*")]
    return {str(path.relative_to(saved_model)): sha256_file(path) for path in files}
