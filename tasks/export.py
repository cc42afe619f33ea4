"""Step ``export``: the trained checkpoint frozen into one graph, with the pipeline.config it was exported by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jetlane.specs.errors import SpecError
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.fitted_anchors import config_of
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, digest_of, sha256_file, write_atomic
from jetlane.tasks.train import CONFIG, checkpoint_digest, checkpoint_of

CODE = (
    "jetlane.tasks.export",
    "jetlane.tasks.odapi.child.export",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.widths",
)
KERAS_CODE = (
    *CODE,
    "jetlane.tasks.odapi.child.export_keras",
    "jetlane.tasks.odapi.child.freeze",
    "jetlane.tasks.odapi.child.keras_model",
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
def export(run: Run, data: StepResult, trained: StepResult) -> StepResult:
    """Freeze the checkpoint.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.loops import is_keras_text
    from jetlane.tasks.odapi.pipeline import for_export

    config = for_export(config_of(run, data))
    return run.step(
        "export",
        inputs={"checkpoint": checkpoint_digest(trained), "pipeline_config": digest_of(config)},
        params={},
        code=KERAS_CODE if is_keras_text(config) else CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: _export(run, config, trained, out),
        describe=lambda result: f"{result.facts['bytes'] / 1e6:.1f} MB, {result.facts['nodes']} nodes",
    )


def _export(run: Run, config: str, trained: StepResult, out: Path) -> Mapping[str, Any]:
    from jetlane.tasks.odapi.client import ExportJob

    write_atomic(out / CONFIG, config)
    return run.odapi().export(ExportJob(out / CONFIG, checkpoint_of(trained), out))


def exported_model(exported: StepResult) -> FrozenModel:
    """What ``export`` made."""
    digests = exported.outputs[FROZEN], exported.outputs[CONFIG]
    return FrozenModel(exported.file(FROZEN), exported.file(CONFIG), *digests)


def given_model(run: Run) -> FrozenModel:
    """The spec's own frozen graph or SavedModel, instead of training one.

    Raises:
        DatasetError: The label map cannot be used with this model; known here, before any work is done for it.
    """
    from jetlane.tasks.converter.ssd.config import read
    from jetlane.tasks.data.labels import read_label_map, refuse_other_count

    run.skip("the spec gives a model", "train", "evaluate", "export")
    model = run.spec.model
    assert model.pipeline_config is not None
    config = Path(model.pipeline_config)
    given = run.spec.dataset.label_map if run.spec.dataset is not None else None
    if given is not None:
        num_classes = read(config).ssd.num_classes
        refuse_other_count(read_label_map(Path(given)), given, num_classes, str(config))
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
