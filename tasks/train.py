"""Step ``train``: records and a pipeline.config become a checkpoint, in the Object Detection API's own process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.tasks.data.prepared import split_files
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.digests import Digest
from jetlane.tasks.run.fitted_anchors import config_of
from jetlane.tasks.run.step import step
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, digest_of, sha256_file, write_atomic

if TYPE_CHECKING:
    from jetlane.tasks.odapi.client import TrainingProgress

CODE = (
    "jetlane.tasks.train",
    "jetlane.tasks.odapi.child.train",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.progress",
    "jetlane.tasks.odapi.child.slots",
)
KERAS_CODE = (
    "jetlane.tasks.train",
    "jetlane.tasks.odapi.child.train_keras",
    "jetlane.tasks.odapi.child.keras_model",
    "jetlane.tasks.odapi.child.keras_checkpoint",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.progress",
)
#: A global concurrency limit of Prefect's, which `jetlane up` creates. The file lock guards one workspace, this limit
#: everything one server starts.
LIMIT = "jetlane-training"
#: Seconds of waiting for that limit before it is said.
_PATIENCE = 5.0
CONFIG = "pipeline.config"


@step("train")
def train(run: Run, data: StepResult) -> StepResult:
    """Train to the spec's number of steps, going on from the last checkpoint of an attempt that was cut.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.loops import is_keras_text
    from jetlane.tasks.odapi.pipeline import read_by_training

    spec = run.spec.train
    config = config_of(run, data)
    inputs: dict[str, str] = {
        "records": data.digest(*data.facts["train"]),
        "label_map": _names_digest(data),
        "pipeline_config": digest_of(read_by_training(config)),
    }
    if spec.fine_tune_checkpoint is not None:
        inputs["fine_tune_checkpoint"] = _checkpoint_digest(Path(spec.fine_tune_checkpoint))
    return run.step(
        "train",
        inputs=inputs,
        # How often it is saved, and where the interpreter lies, does not shape the model.
        params={"seed": spec.seed},
        code=KERAS_CODE if is_keras_text(config) else CODE,
        tools=versions(TRAINING, run.python),
        make=lambda out: _train(run, data, config, out),
        describe=_describe,
        resumable=True,
    )


def _train(run: Run, data: StepResult, config: str, out: Path) -> Mapping[str, Any]:
    from jetlane.tasks.odapi.client import TrainJob

    spec = run.spec.train
    write_atomic(out / CONFIG, config)
    job = TrainJob(
        pipeline_config=out / CONFIG,
        train_records=split_files(data, "train"),
        validation_records=split_files(data, "validation"),
        label_map=data.file("label_map.pbtxt"),
        model_dir=out / "model",
        checkpoint_every=spec.checkpoint_every,
        seed=spec.seed,
        fine_tune_checkpoint=Path(spec.fine_tune_checkpoint) if spec.fine_tune_checkpoint else None,
    )
    with _alone(run):
        facts = dict(run.odapi().train(job, lambda at: _show_progress(run, at)))
    curve = json.loads((out / "model" / facts["loss_curve"]).read_text())
    return {**facts, "checkpoint": f"model/{facts['checkpoint']}", "curve": [row[:2] for row in curve]}


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Never two trainings at once in one workspace, however they were started, nor on one server that has the limit."""
    from prefect.concurrency.sync import concurrency

    # A run that was killed keeps its place until the lease ends; Prefect knows none shorter than a minute.
    place = partial(concurrency, LIMIT, occupy=1, lease_duration=60)
    waiting = "another training is under way {}; waiting for it"
    with ExitStack() as stack:
        stack.enter_context(
            run.workspace.lock("training", on_wait=lambda: run.note(waiting.format("in this workspace")))
        )
        try:
            stack.enter_context(place(timeout_seconds=_PATIENCE))
        except TimeoutError:
            run.note(waiting.format("on this Prefect server"))
            stack.enter_context(place())
        yield


def _show_progress(run: Run, at: TrainingProgress) -> None:
    text = f"step {at.step}/{at.total}, loss {at.loss:.3f}, {at.steps_per_second:.1f} steps/s"
    if at.eta is not None:
        text += f", {at.eta:.0f} s to go"
    run.observer.update("train", at.step / at.total, text)


def _names_digest(data: StepResult) -> Digest:
    """Of the ids and names in the label map, which training reads; display names are for people."""
    from jetlane.tasks.data.labels import read_label_map

    file = data.digest("label_map.pbtxt")
    return Digest(digest_of(read_label_map(data.file("label_map.pbtxt")).names), file.files)


def checkpoint_of(trained: StepResult) -> Path:
    """Prefix of the trained checkpoint's files."""
    return trained.file(trained.facts["checkpoint"])


def checkpoint_digest(trained: StepResult) -> str:
    """Digest of the trained checkpoint's files alone, not of events and earlier checkpoints."""
    prefix = trained.facts["checkpoint"] + "."
    return trained.digest(*(name for name in sorted(trained.outputs) if name.startswith(prefix)))


def _checkpoint_digest(prefix: Path) -> str:
    files = sorted(prefix.parent.glob(prefix.name + ".*"))
    return digest_of({file.name: sha256_file(file) for file in files})


def _describe(result: StepResult) -> str:
    facts: Mapping[str, Any] = result.facts
    resumed: Optional[int] = facts.get("resumed_from")
    went_on = f", went on from step {resumed}" if resumed else ""
    return f"{facts['steps']} steps, loss {facts['loss']:.3f}{went_on}"
