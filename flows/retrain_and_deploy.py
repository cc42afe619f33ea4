"""From a spec to a verified fleet.

The flow's parameters are the sections of a spec (``jetlane.specs.schema``). Annotations are real objects here, not
strings: Prefect resolves them when it builds the schema of the parameters.
"""
# ruff: noqa: B008  (the defaults are frozen models)

from dataclasses import replace
from typing import Any, Optional

from prefect import flow

from jetlane.flows.cli.terminal import QUIET, TerminalRunObserver
from jetlane.flows.fleet.dispatch import PrefectSites
from jetlane.flows.fleet.events import RolloutEvents
from jetlane.flows.serving.notifications import end_of, refuse_missing_blocks, tell_end
from jetlane.flows.serving.refusal import refused, unchanged
from jetlane.flows.serving.run_events import RunEvents
from jetlane.flows.serving.run_names import run_name
from jetlane.flows.serving.shared_reports import share_report
from jetlane.specs.errors import GateError, JetlaneError
from jetlane.specs.load import refuse_missing, resolve
from jetlane.specs.schema import (
    Activate,
    Build,
    Convert,
    Dataset,
    Fleet,
    Gate,
    Model,
    Name,
    Notify,
    Preflight,
    RunSpec,
    Track,
    Train,
    Verify,
    WorkspaceFolder,
)
from jetlane.tasks.convert import convert, nvidia_versions
from jetlane.tasks.data.prepared import labels_of
from jetlane.tasks.dataset import dataset, validation_data
from jetlane.tasks.deploy import deploy
from jetlane.tasks.evaluate import checkpoint_measured, evaluate
from jetlane.tasks.export import export, exported_model, given_model
from jetlane.tasks.gate import gate, remember_measured, ship
from jetlane.tasks.plugins import plugins
from jetlane.tasks.preflight import graph_measured, needed_top_k, preflight, refuse_missing_builder
from jetlane.tasks.prune import smaller
from jetlane.tasks.quantize import quantized
from jetlane.tasks.release import origin_of, release, release_path
from jetlane.tasks.report import page, report, report_stopped
from jetlane.tasks.run.cleaning import tidy
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.early_checks import check_run
from jetlane.tasks.run.facts import NOTHING_DONE
from jetlane.tasks.run.fitted_anchors import tell_fit
from jetlane.tasks.run.observer import PrefectRunObserver, RunObserverGroup
from jetlane.tasks.run.rollout import refuse_failures
from jetlane.tasks.run.tracking import record_in_mlflow, refuse_missing_mlflow
from jetlane.tasks.run.workspace import DamagedOutput, StepResult
from jetlane.tasks.slices import refuse_empty_slices, slices, unmet
from jetlane.tasks.train import train


def story(run: Run) -> dict[str, Any]:
    """The run, step by step; every step finds what an earlier run made of the same inputs, and makes only the rest."""
    data: Optional[StepResult]
    check_run(run)
    refuse_missing_builder(run)
    refuse_missing_mlflow(run.spec.track)
    nvidia_versions(run)  # a missing converter is an error before anything is trained for it
    if run.spec.trains:
        data = dataset(run)
        refuse_empty_slices(run, data)
        tell_fit(run, data)
        trained = smaller(run, data, train(run, data))
        measured = checkpoint_measured(evaluate(run, data, trained), data, trained)
        gate(run, measured, data)
        model = exported_model(export(run, data, trained))
    else:
        data = validation_data(run)
        refuse_empty_slices(run, data)
        model = given_model(run)
    more: Optional[int] = None
    while True:
        parameters = plugins(run, model, more)
        converted = convert(run, model, parameters)
        coarse = quantized(run, data, parameters, converted)
        proof = preflight(run, data, model, parameters, converted, coarse)
        more = needed_top_k(proof)
        if not more:
            break
    if not run.spec.trains:
        measured = graph_measured(proof, data, model)
        gate(run, measured, data)
    shipped = release(run, model, parameters, converted, coarse, proof, origin_of(run, data, model, proof))
    worth = replace(measured, graph=str(model.graph), graph_digest=model.graph_digest)
    remember_measured(run.workspace, release_path(shipped).name, worth)
    missed = []
    if data is not None and run.spec.gate.slices:
        missed = [*unmet(run, slices(run, data, parameters, converted), labels_of(data.facts))]
    ship(run, proof, release_path(shipped), missed)
    deployed = deploy(run, release_path(shipped))
    record_in_mlflow(run, release_path(shipped).name)
    drawn = report(run, release_path(shipped), deployed.devices)
    refuse_failures(deployed)
    return {
        "release": release_path(shipped).name,
        "release_path": str(run.workspace.root / "releases" / release_path(shipped).name),
        "report": str(page(drawn)),
        "changed": run.changed,
        "steps": {line.name: line.state for line in run.steps},
        "devices": {device.name: device.state for device in deployed.devices},
    }


def _whole_story(run: Run) -> dict[str, Any]:
    """The steps; once more from the start where an output that a step had found turns out to be damaged."""
    try:
        return story(run)
    except DamagedOutput as damage:
        run.start_over(damage)
        return story(run)


@flow(name="retrain-and-deploy", flow_run_name=run_name(lambda given: str(given["name"])))
def retrain_and_deploy(
    name: Name,
    dataset: Optional[Dataset] = None,
    model: Model = Model(),
    train: Train = Train(),
    gate: Gate = Gate(),
    convert: Convert = Convert(),
    build: Build = Build(),
    preflight: Preflight = Preflight(),
    verify: Verify = Verify(),
    activate: Activate = Activate(),
    fleet: Fleet = Fleet(),
    notify: Notify = Notify(),
    track: Track = Track(),
    workspace: WorkspaceFolder = WorkspaceFolder(),
    signing_key: Optional[str] = None,
    base_dir: Optional[str] = None,
    force: bool = False,
    verify_all: bool = False,
) -> Any:
    """Retrain an SSD, prove the converted model, and bring it to a fleet; only what changed is done again.

    Args:
        name: lower-case letters, digits, - and _; releases carry it
        dataset: What is trained and validated with. Not needed where an existing model is deployed.
        workspace: Where everything that runs make is kept, and for how long.
        signing_key: ed25519 private key that signs releases; default: one of the workspace's own
        base_dir: absolute folder that relative paths start from
        force: A model the gate refuses is shipped all the same, and that is recorded.
        verify_all: Everything found in the workspace is hashed, whenever that was done last.

    Returns:
        ``release`` (id), ``release_path``, ``report`` (path), ``changed`` (False when nothing had to be done),
        ``steps`` and ``devices`` ({name: state}). Where the gate refuses the model, the run ends in the state Refused;
        where nothing had to be done, in the state Unchanged.
    """
    spec = RunSpec(
        name=name,
        dataset=dataset,
        model=model,
        train=train,
        gate=gate,
        convert=convert,
        build=build,
        preflight=preflight,
        verify=verify,
        activate=activate,
        fleet=fleet,
        notify=notify,
        track=track,
        workspace=workspace,
        signing_key=signing_key,
        base_dir=base_dir,
    )
    spec = resolve(spec)
    refuse_missing(spec)
    terminal = TerminalRunObserver()
    events = RunEvents(name)
    observer = RunObserverGroup([PrefectRunObserver(), events, *([] if QUIET.get() else [terminal])])
    refuse_missing_blocks(spec.notify)
    with terminal, Run(spec, observer, force, PrefectSites, verify_all, share_report, rollouts=RolloutEvents()) as run:
        if not QUIET.get():
            terminal.wait()
        try:
            outcome = _whole_story(run)
        except JetlaneError as error:
            drawn = report_stopped(run, error)
            tidy(run)
            _tell_end(run, events, None, error, str(drawn or ""))
            if isinstance(error, GateError):
                return refused(error)
            raise
        tidy(run)
        _tell_end(run, events, outcome, None)
        return outcome if outcome["changed"] else unchanged(NOTHING_DONE, outcome)


def _tell_end(
    run: Run, events: RunEvents, outcome: Optional[dict[str, Any]], error: Optional[JetlaneError], report: str = ""
) -> None:
    """To notification blocks, and as an event."""
    tell_end(run, outcome, error, report)
    run.ended(end_of(outcome, error))
    events.ended(end_of(outcome, error), outcome, error, report)
