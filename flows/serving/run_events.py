"""What a run does, as events on its Prefect server: see ``events.KINDS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from jetlane.flows.serving import events
from jetlane.flows.serving.events import Subject, emit
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.run.facts import DECIDED, MADE, REFUSED, StepFacts


class RunEvents:
    """A ``RunObserver`` that emits an event for each step, for what the gate says, for a new release, and for the end.

    Args:
        project: The spec's name.
    """

    def __init__(self, project: str) -> None:
        self._project = Subject("project", project)

    def started(self, step: str) -> None: ...

    def update(self, step: str, fraction: Optional[float], text: str) -> None: ...

    def note(self, text: str) -> None: ...

    def finished(self, step: StepFacts) -> None:
        release = Subject("release", str(step.facts["id"])) if step.name == "release" and "id" in step.facts else None
        told = {"step": step.name, "state": step.state, "seconds": step.seconds, "key": step.key, "note": step.note}
        self._emit(events.STEP_FINISHED, told, release)
        if step.name == "gate":
            self._gate(step)
        if release is not None and step.state == MADE:
            emit(events.RELEASE_MADE.name, release, {"note": step.note}, [self._project])

    def _gate(self, step: StepFacts) -> None:
        facts = step.facts
        if step.state == REFUSED:
            self._emit(events.GATE_REFUSED, {"reasons": facts.get("reasons", ())})
        elif step.state == DECIDED:
            told = {name: facts.get(name) for name in ("baseline", "baseline_release", "forced")}
            self._emit(events.GATE_PASSED, {"mAP@0.5": facts.get("map"), **told, "note": step.note})

    def ended(self, end: str, outcome: Optional[Mapping[str, Any]], error: Optional[JetlaneError], report: str) -> None:
        """The run is over.

        Args:
            end: As ``notify.ends`` has it.
            outcome: What the flow returns; None where it stopped.
            error: What stopped it.
            report: The report's path where it stopped; empty where there is none.
        """
        told: dict[str, Any] = {"end": end, "report": outcome["report"] if outcome else report}
        if error is not None:
            told.update(what=error.what, why=error.why)
        if outcome is not None:
            told["devices"] = outcome["devices"]
        self._emit(events.RUN_FINISHED, told, Subject("release", outcome["release"]) if outcome else None)

    def _emit(self, kind: events.EventKind, payload: Mapping[str, Any], release: Optional[Subject] = None) -> None:
        emit(kind.name, self._project, payload, [] if release is None else [release])
