"""Step ``report``: one page that shows the run; what it says, and a link to it, are Prefect artifacts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import JetlaneError
from jetlane.tasks.gate import read_live
from jetlane.tasks.preflight import COMPARED
from jetlane.tasks.release import release_path
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.facts import FAILED, RUNNING, SKIPPED, DeviceFacts, RunFacts
from jetlane.tasks.run.network_facts import network_facts
from jetlane.tasks.run.step import step
from jetlane.tasks.run.workspace import StepResult, digest_of

CODE = (
    "jetlane.tasks.report",
    "jetlane.tasks.reporting",
    "jetlane.tasks.proof.worst_pairs",
    "jetlane.tasks.run.facts",
    "jetlane.tasks.run.network_facts",
)


@step("report")
def report(
    run: Run, release: Optional[Path], devices: tuple[DeviceFacts, ...], error: Optional[JetlaneError] = None
) -> StepResult:
    """Draw the page, unless the same story was drawn before; ``page`` is its path.

    Args:
        release: None where the run did not get that far.
        error: What stopped the run.
    """
    from jetlane.tasks.reporting.report import write_report

    facts = gather(run, release, devices, error)
    result = run.step(
        "report",
        inputs={"story": digest_of(_lasting(facts)), **({"mended": digest_of(run.mended)} if run.mended else {})},
        params={},
        code=CODE,
        make=lambda out: {"page": write_report(out, facts).name},
        describe=lambda result: str(page(result)),
    )
    _publish(run, facts, page(result))
    return result


def page(result: StepResult) -> Path:
    """The report's HTML file."""
    return result.file(result.facts["page"])


def report_stopped(run: Run, error: JetlaneError) -> Optional[Path]:
    """Draw what a run reached that was stopped; where even that fails, the run's own error is what counts.

    Returns:
        The page; None where there is none.
    """
    if "report" not in run.results:
        made = run.results.get("release")
        with suppress(JetlaneError):
            report(run, release_path(made) if made else None, (), error)
    return page(run.results["report"]) if "report" in run.results else None


def gather(
    run: Run, release: Optional[Path], devices: Sequence[DeviceFacts], error: Optional[JetlaneError] = None
) -> RunFacts:
    """Everything the run knows, in the report's form."""

    def recorded(name: str) -> Mapping[str, Any]:
        return run.results[name].facts if name in run.results else {}

    evaluated, proof = recorded("evaluate"), recorded("preflight")
    trained = recorded("retrain") or recorded("train")
    # of a graph that was given, preflight measures what TensorFlow finds
    in_proof = (proof.get("mAP") or {}).get("tensorflow") or {}
    measured = evaluated or in_proof
    gate = next((step.facts for step in run.steps if step.name == "gate"), {})
    return RunFacts(
        name=run.spec.name,
        spec=run.spec.model_dump(mode="json", exclude_none=True),
        started=run.started,
        seconds=round(run.seconds, 1),
        steps=tuple(run.steps),
        labels=tuple((release / "labels.txt").read_text(encoding="utf-8").splitlines()) if release else (),
        dataset=recorded("dataset").get("stats", {}),
        anchor_fit=run.anchor_fit,
        metrics=evaluated.get("coco", {}),
        per_class=measured.get("per_class", {}),
        curves=measured.get("curves", {}),
        confusion=in_proof.get("confusion") or measured.get("confusion", {}),  # there by the threshold of boards
        loss_curve=tuple((int(at), float(loss)) for at, loss in trained.get("curve", ())),
        validation_curve=tuple(
            (int(row[0]), row[1] or 0.0, row[2] or 0.0) for row in trained.get("validation_curve") or ()
        ),
        fine_tune=trained.get("fine_tune") or {},
        pruning=_pruning(recorded("prune"), evaluated),
        network=network_facts(run),
        gate=gate,
        plugins=recorded("plugins"),
        preflight=proof,
        compared=str(run.results["preflight"].file(COMPARED)) if proof else str(run.disagreement or ""),
        live=known.release if (known := read_live(run.workspace, run.spec.name)) else "",
        release=release.name if release else "",
        release_path=str(release or ""),
        devices=tuple(devices),
        error=error.what if error else "",
        notes=tuple(run.notes),
    )


def _pruning(pruned: Mapping[str, Any], evaluated: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was pruned, and what the network was worth before, after, and when it was trained again."""
    if not pruned:
        return {}
    names = (("map50", "mAP@0.5"), ("map", "mAP"))
    return {**pruned, **{name: [*pruned[name], evaluated.get(found)] for name, found in names}}


def _lasting(facts: RunFacts) -> Mapping[str, Any]:
    """The story without what differs when nothing was done: times of this run, who found what in the workspace."""
    data = facts.to_json()
    for name in ("started", "seconds", "notes"):
        del data[name]
    data["steps"] = [
        (step["name"], step["key"], step["note"] if step["state"] == FAILED else "") for step in data["steps"]
    ]
    if any(device.state in RUNNING for device in facts.devices):
        del data["live"]
    data["gate"] = {key: data["gate"].get(key) for key in ("passed", "forced")}
    for device in data["devices"]:
        for name in ("bytes_sent", "seconds", "board", "previous"):
            del device[name]
        if device["state"] not in (FAILED, SKIPPED):  # else the reason is what a reader looks for
            del device["reason"]
        device["state"] = device["state"].replace("unchanged", "active")
    return data


def _publish(run: Run, facts: RunFacts, path: Path) -> None:
    from prefect.artifacts import create_link_artifact, create_markdown_artifact

    from jetlane.tasks.reporting.summary import markdown

    address = run.share(path, run.workspace.root) if run.share is not None else None
    create_markdown_artifact(markdown(facts, path, address), key="report", description=f"Report of {facts.name}")
    if address is not None:
        create_link_artifact(
            address, link_text=f"report of {facts.name}", key="report-page", description="The whole report"
        )
