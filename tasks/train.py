"""Step ``train``: records and a pipeline.config become a checkpoint, in the Object Detection API's own process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from jetlane.tasks.data.prepared import split_files
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.counted import to_go
from jetlane.tasks.run.digests import Digest
from jetlane.tasks.run.fitted_anchors import config_of
from jetlane.tasks.run.lost_steps import LostSteps
from jetlane.tasks.run.start_point import Start, start_of
from jetlane.tasks.run.step import step
from jetlane.tasks.run.sweep import best_of
from jetlane.tasks.run.tool_versions import TRAINING, versions
from jetlane.tasks.run.workspace import StepResult, code_digest, digest_of, write_atomic

if TYPE_CHECKING:
    from jetlane.tasks.odapi.client import TrainingProgress

CODE = (
    "jetlane.tasks.train",
    "jetlane.tasks.odapi.evaluation_plan",
    "jetlane.tasks.odapi.child.train",
    "jetlane.tasks.odapi.child.checkpoints",
    "jetlane.tasks.odapi.child.class_metrics",
    "jetlane.tasks.odapi.child.evaluated",
    "jetlane.tasks.odapi.child.validation",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.progress",
    "jetlane.tasks.odapi.child.replicas",
    "jetlane.tasks.odapi.child.slots",
    "jetlane.tasks.odapi.child.widths",
)
KERAS_CODE = (
    "jetlane.tasks.train",
    "jetlane.tasks.odapi.evaluation_plan",
    "jetlane.tasks.odapi.child.train_keras",
    "jetlane.tasks.odapi.child.class_metrics",
    "jetlane.tasks.odapi.child.evaluated_keras",
    "jetlane.tasks.odapi.child.validation",
    "jetlane.tasks.odapi.child.keras_model",
    "jetlane.tasks.odapi.child.keras_checkpoint",
    "jetlane.tasks.odapi.child.configs",
    "jetlane.tasks.odapi.child.compat",
    "jetlane.tasks.odapi.child.progress",
    "jetlane.tasks.odapi.child.loss_watch",
    "jetlane.tasks.odapi.child.replicas",
    "jetlane.tasks.odapi.child.slots",
)
#: A global concurrency limit of Prefect's, which `jetlane up` creates. The file lock guards one workspace, this limit
#: everything one server starts.
LIMIT = "jetlane-training"
#: Seconds of waiting for that limit before it is said.
_PATIENCE = 5.0
CONFIG = "pipeline.config"
#: Variables that did not fit a checkpoint and are told by name.
_SKIPPED = 12
#: Steps after the first from which on a training's rate says how long it still takes.
_RATED = 10


@dataclass(frozen=True)
class Again:
    """The training of a network that was pruned.

    Attributes:
        start: The pruned checkpoint.
        first: The training before; where a later one starts from ``live``, it is that one's recipe which counts.
    """

    start: Start
    first: StepResult


@step("train")
def train(run: Run, data: StepResult) -> StepResult:
    """Train by the spec; of a sweep each variant, of which the best is what the run goes on with.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    if run.spec.train.sweep is None:
        return trained(run, data)
    return best_of(run, lambda: trained(run, data, compared=True))


def trained(run: Run, data: StepResult, compared: bool = False, again: Optional[Again] = None) -> StepResult:
    """Train to the spec's number of steps, or until patience ends it, going on from the last checkpoint of an attempt
    that was cut. The best of the checkpoints that were evaluated is the step's; where none was, the last.

    Args:
        compared: It is evaluated at its end at least.
        again: It is the step ``retrain``.

    Raises:
        TrainingError: With the last lines of the child's log.
    """
    from jetlane.tasks.odapi.loops import is_keras_text
    from jetlane.tasks.odapi.pipeline import read_by_training

    spec = run.spec.train
    config = config_of(run, data)
    keras = is_keras_text(config)
    every = _evaluate_every(run, data, config, compared)
    inputs: dict[str, str] = {
        "records": data.digest(*data.facts["train"]),
        "label_map": _names_digest(data),
        "pipeline_config": digest_of(config if every else read_by_training(config)),
    }
    params: dict[str, Any] = {"seed": spec.seed}
    if spec.gpus not in (None, 1):  # each normalises by the statistics of its own images
        params["gpus"] = spec.gpus
    if every:  # the validation data decides which checkpoint is taken, and perhaps when training ends
        inputs["validation_records"] = data.digest(*data.facts["validation"])
        params.update(evaluate_every=every, metric=spec.metric, patience=spec.patience)
    code = KERAS_CODE if keras else CODE
    tools = versions(TRAINING, run.python)
    name = "train" if again is None else "retrain"
    recipe = digest_of({"inputs": inputs, "params": params, "code": code_digest(code), "tools": tools})
    start = start_of(run, recipe) if again is None else again.start
    origin = {"recipe": str(recipe)} if again is None else {key: again.first.facts[key] for key in ("recipe", "start")}
    if start is not None:
        inputs["fine_tune_checkpoint"] = start.digest
    result = run.step(
        name,
        inputs=inputs,
        # How often it is saved, and where the interpreter lies, does not shape the model.
        params=params,
        code=code,
        tools=tools,
        make=lambda out: {**_train(run, data, config, every, start, out, name), **origin},
        describe=lambda made: _described(made) + (_start_told(made.facts) if again is None else ""),
        resumable=True,
    )
    if not result.cached:
        _tell_skipped(run, result.facts)
    return result


def _tell_skipped(run: Run, facts: Mapping[str, Any]) -> None:
    """What of the checkpoint did not fit, by the layer."""
    skipped = (facts.get("fine_tune") or {}).get("skipped", ())
    for one in skipped[:_SKIPPED]:
        there = f"{one['checkpoint']} there" if one["checkpoint"] else "not there"
        run.note(f"train: {one['name']} starts anew: {one['model']} here, {there}")
    if len(skipped) > _SKIPPED:
        run.note(f"train: and {len(skipped) - _SKIPPED} more variables start anew")


def _evaluate_every(run: Run, data: StepResult, config: str, compared: bool) -> int:
    from jetlane.tasks.converter.ssd.config import parse
    from jetlane.tasks.odapi.evaluation_plan import interval

    asked, images = parse(config).message.train_config, data.facts["stats"]["validation"]["images"]
    every = interval(run.spec.train.evaluate_every, asked.num_steps, asked.batch_size, images)
    return every or (int(asked.num_steps) if compared else 0)


def _train(
    run: Run, data: StepResult, config: str, every: int, start: Optional[Start], out: Path, step_name: str
) -> Mapping[str, Any]:
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
        fine_tune_checkpoint=start.prefix if start else None,
        evaluate_every=every,
        metric=spec.metric,
        patience=spec.patience,
        watch_loss=spec.watch_loss,
        keep_checkpoints=spec.keep_checkpoints,
        gpus=spec.gpus,
    )
    with _alone(run), LostSteps(run, job.model_dir) as lost:
        shown = _Shown(run, lost, step_name)
        facts = dict(run.odapi().train(job, shown.progress, shown.evaluated))
    curve = json.loads((out / "model" / facts["loss_curve"]).read_text())
    told: dict[str, Any] = {"curve": [row[:2] for row in curve], "validation_curve": _validation_curve(facts)}
    told["start"] = start.to_json() if start else None
    return {**facts, **told, "checkpoint": f"model/{facts['checkpoint']}", "ended": _ended(facts)}


def _validation_curve(facts: Mapping[str, Any]) -> list[list[float]]:
    """``[[step, mAP, mAP@0.5, mAP@0.75, least AP@0.5 of a class], ...]``."""
    rows = (facts.get("validation") or {}).get("evaluations", ())
    return [[row[name] for name in ("step", "map", "map50", "map75", "worst_class")] for row in rows]


def _ended(facts: Mapping[str, Any]) -> str:
    """Why the training ended, in words."""
    found = facts.get("validation")
    if not found or not found["gave_up"]:
        return f"all {facts['steps']} steps were trained"
    waited = len(found["evaluations"]) - 1 - found["evaluations"].index(found["best"])
    return f"no gain in {found['metric']} in {waited} evaluations after step {found['best']['step']}"


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Never two trainings at once in one workspace, however they were started, nor on one server that has the limit.

    Nor two of one project on any hosts, where the spec's ledger is one that they share.
    """
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
        stack.enter_context(_alone_over_hosts(run))
        yield


@contextmanager
def _alone_over_hosts(run: Run) -> Iterator[None]:
    """The project's lease in a ledger that was named; the workspace's own is guarded by its lock."""
    from jetlane.remote.fleet import database

    if run.spec.fleet.ledger is None and not os.environ.get(database.VARIABLE):
        yield
        return
    from jetlane.remote.fleet.training_lease import training_lease
    from jetlane.tasks.run.rollout import ledger_of

    def waits(who: str) -> None:
        run.note(f"another training of {run.spec.name} is under way, by {who} (the ledger says so); waiting for it")

    with ExitStack() as stack:
        ledger = stack.enter_context(ledger_of(run.spec.fleet, run.workspace))
        stack.enter_context(training_lease(ledger.leases, run.spec.name, waits, run.odapi().stop))
        yield


class _Shown:
    """A training in one line: where it is, and what it was worth when it was last evaluated."""

    def __init__(self, run: Run, lost: LostSteps, step_name: str) -> None:
        self._run, self._lost, self._step = run, lost, step_name
        self._worth, self._first = "", None  # type: tuple[str, Optional[int]]

    def progress(self, at: TrainingProgress) -> None:
        self._lost.reached(at.step)
        if self._first is None or at.step < self._first:
            self._first = at.step
        text = f"step {at.step}/{at.total}, loss {at.loss:.3f}"
        if at.step - self._first >= _RATED:
            text += f", {at.steps_per_second:.1f} steps/s"
            text += f", {to_go(at.eta)}" if at.eta is not None else ""
        self._run.observer.update(self._step, at.step / at.total, text + self._worth)

    def evaluated(self, row: Mapping[str, float]) -> None:
        self._worth = f"; mAP@0.5 {row['map50']:.3f} at step {row['step']}"


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


def _described(result: StepResult) -> str:
    facts: Mapping[str, Any] = result.facts
    resumed: Optional[int] = facts.get("resumed_from")
    went_on = f", went on from step {resumed}" if resumed else ""
    validation = facts.get("validation") or {}
    early = f" ({facts['ended']})" if validation.get("gave_up") else ""
    return f"{facts['steps']} steps{early}, loss {facts['loss']:.3f}{went_on}{_best_of(validation)}"


def _start_told(facts: Mapping[str, Any]) -> str:
    start, found = facts.get("start"), facts.get("fine_tune")
    if not start or not found:
        return ""
    return f"; started from {start['told']}: {found['loaded']} variables, {len(found['skipped'])} anew"


def _best_of(validation: Mapping[str, Any]) -> str:
    if not validation:
        return ""
    best, count = validation["best"], len(validation["evaluations"])
    return f"; step {best['step']} is the best of {count} evaluated, mAP@0.5 {best['map50']:.3f}"
