"""Step ``dataset``: record files, a label map and statistics in the workspace, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counted import listening
from jetlane.tasks.run.counting import telling
from jetlane.tasks.run.step import step
from jetlane.tasks.run.workspace import StepResult, write_atomic

if TYPE_CHECKING:
    from jetlane.tasks.data.source import LabelledSource

CODE = ("jetlane.tasks.dataset", "jetlane.tasks.data")


@step("dataset")
def dataset(run: Run) -> StepResult:
    """Draw the synthetic set, read labelled images, or copy and check the user's own records.

    Raises:
        DatasetError: Sources or records unreadable, what the policy forbids, boxes outside, classes unknown, a split
            empty.
    """
    from jetlane.tasks.data.from_spec import source
    from jetlane.tasks.data.prepare import fingerprint, prepare
    from jetlane.tasks.data.source import LabelledSource

    origin = source(run.spec)
    if isinstance(origin, LabelledSource):
        return _labelled(run, origin)
    with listening(telling(run, "dataset")):
        return run.step(
            "dataset",
            inputs={"source": fingerprint(origin)},
            params={},
            code=CODE,
            make=lambda out: prepare(origin, out),
            describe=_describe,
        )


def _labelled(run: Run, origin: LabelledSource) -> StepResult:
    """Labelled images; what is remembered of them between runs goes by the name of the spec."""
    from jetlane.tasks.data.findings_report import counts, refuse, write
    from jetlane.tasks.data.ingest import LABEL_MAP, plan, previous_labels
    from jetlane.tasks.data.prepare import plan_fingerprint, prepare_plan

    state = run.workspace.folder("data", run.spec.name)
    with run.workspace.lock(f"data-{run.spec.name}"), listening(telling(run, "dataset")):
        run.observer.started("dataset")  # labels and images are read in every run
        made = plan(origin, state)
        report = write(made, origin.policy, state)
        refuse(made, origin.policy, origin.max_dropped, report)
        found = counts(made.findings)
        if found:
            listed = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in found.items())
            run.note(f"the data set: {listed}; all of it is listed in {report}")
        result = run.step(
            "dataset",
            inputs={"source": plan_fingerprint(made, origin.max_side)},
            params={},
            code=CODE,
            make=lambda out: prepare_plan(made, origin, out, state),
            describe=_describe,
        )
        if previous_labels(state) != made.labels:
            write_atomic(state / LABEL_MAP, made.labels.text())
    return result


def validation_data(run: Run) -> Optional[StepResult]:
    """What a given graph is measured on, where the spec names any."""
    if run.spec.has_validation:
        return dataset(run)
    run.skip("the spec names no validation data", "dataset")
    return None


def _describe(result: StepResult) -> str:
    facts: Any = result.facts
    counts = [f"{stats['images']} {split}" for split, stats in facts["stats"].items()]
    dropped = f", {facts['dropped']} left out" if facts["dropped"] else ""
    return f"{' + '.join(counts)} images, {facts['num_classes']} classes{dropped}"
