"""Step ``dataset``: record files, a label map and statistics in the workspace, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.specs.paths import expand
from jetlane.specs.schema import Dataset
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.step import step
from jetlane.tasks.run.workspace import StepResult

if TYPE_CHECKING:
    from jetlane.tasks.data.source import DataSource

CODE = ("jetlane.tasks.dataset", "jetlane.tasks.data")


@step("dataset")
def dataset(run: Run) -> StepResult:
    """Draw the synthetic set, or copy and check the user's own records.

    Raises:
        DatasetError: Records unreadable, boxes outside, classes unknown, a split empty.
    """
    from jetlane.tasks.data.prepare import fingerprint, prepare

    assert run.spec.dataset is not None
    origin = source(run.spec.dataset)
    return run.step(
        "dataset",
        inputs={"source": fingerprint(origin)},
        params={},
        code=CODE,
        make=lambda out: prepare(origin, out),
        describe=_describe,
    )


def validation_data(run: Run) -> Optional[StepResult]:
    """What a given graph is measured on, where the spec names any."""
    if run.spec.has_validation:
        return dataset(run)
    run.skip("the spec names no validation data", "dataset")
    return None


def source(given: Dataset) -> DataSource:
    """The spec's data set as the data room knows it."""
    from jetlane.tasks.data.source import RecordFiles, SyntheticSource

    if given.shapes is not None:
        return SyntheticSource(**given.shapes.model_dump())
    assert given.label_map is not None
    return RecordFiles(expand(given.train), expand(given.validation), Path(given.label_map))


def _describe(result: StepResult) -> str:
    counts = [f"{stats['images']} {split}" for split, stats in result.facts["stats"].items()]
    return f"{' + '.join(counts)} images, {result.facts['num_classes']} classes"
