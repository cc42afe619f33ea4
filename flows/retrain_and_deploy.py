"""From a spec to a verified fleet.

The flow's parameters are the sections of a spec (``jetlane.specs.schema``). Annotations are real objects here, not
strings: Prefect resolves them when it builds the schema of the parameters.
"""
# ruff: noqa: B008  (the defaults are frozen models)

from typing import Any, Optional

from prefect import flow

from jetlane.flows.terminal import Terminal
from jetlane.specs.load import resolve
from jetlane.specs.schema import Build, Convert, Dataset, Fleet, Gate, Model, Name, RunSpec, Train, Verify
from jetlane.tasks.convert import convert
from jetlane.tasks.dataset import dataset
from jetlane.tasks.deploy import deploy, refuse_failures
from jetlane.tasks.evaluate import evaluate
from jetlane.tasks.export import export, exported_model, given_model
from jetlane.tasks.gate import gate
from jetlane.tasks.plugins import plugins
from jetlane.tasks.preflight import preflight
from jetlane.tasks.progress import PrefectProgress, Several
from jetlane.tasks.release import release
from jetlane.tasks.report import report
from jetlane.tasks.run import Run
from jetlane.tasks.train import train


def story(run: Run) -> dict[str, Any]:
    """The run, step by step; every step finds what an earlier run made of the same inputs, and makes only the rest."""
    if run.spec.trains:
        data = dataset(run)
        trained = train(run, data)
        measured = evaluate(run, data, trained)
        gate(run, measured)
        model = exported_model(export(run, trained))
    else:
        data = dataset(run) if run.has_images else run.skip("dataset", "the spec names no validation data")
        run.skip_all(("train", "evaluate", "export"), "the spec gives a frozen graph")
        model = given_model(run)
    parameters = plugins(run, model)
    converted = convert(run, model)
    proof = preflight(run, data, model, converted)
    if not run.spec.trains:
        gate(run, proof) if run.has_images else run.skip("gate", "there is no validation data to measure mAP on")
    shipped = release(run, model, parameters, converted, proof)
    devices = deploy(run, shipped)
    page = report(run, shipped, devices)
    refuse_failures(devices)
    return {
        "release": shipped.id,
        "release_path": str(shipped.path),
        "report": str(page),
        "changed": run.changed,
        "devices": {device.name: device.state for device in devices},
    }
