"""Step ``gate``: is the retrained model good enough, and not worse than what is live?

A decision, taken anew in every run, because the live release is part of it:

* the model's mAP@0.5 must reach ``gate.min_map``;
* where a release of the same name is live and was measured on the same validation data, the model may be at most
  ``gate.margin`` below it (exactly that much below still passes);
* the first run has no live release: the threshold alone decides;
* a live release that was measured on other data is measured again on this run's, where its graph is still there;
* a live release that knows other classes, or has no comparable numbers, stops the run, as it cannot be known
  whether the new model is worse; ``--force`` says that a person looked;
* ``--force`` lets a refused model through, and the refusal is recorded in the report.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import GateError
from jetlane.specs.schema import Gate
from jetlane.specs.support.local_files import PRIVATE, read_json
from jetlane.tasks.proof.baseline import Measured, measure_again
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.digests import sealed, unsealed
from jetlane.tasks.run.facts import DECIDED, FAILED, StepFacts
from jetlane.tasks.run.step import step
from jetlane.tasks.run.workspace import StepResult, Workspace, write_atomic


@dataclass(frozen=True)
class Live:
    """The release that was last activated from this workspace under a name.

    Attributes:
        release: Its id.
        measured: What it was worth when it went live. The same model again is not compared with itself.
    """

    release: str
    measured: Measured


@dataclass(frozen=True)
class Decision:
    """What the gate decided, and why.

    Attributes:
        map: mAP@0.5 of the new model.
        baseline: mAP@0.5 of the live release, when it was compared.
        reasons: Why it is refused; empty when it passes.
        remark: What a reader should know about the comparison.
    """

    passed: bool
    forced: bool
    map: float
    min_map: float
    margin: float
    baseline: Optional[float]
    baseline_release: str
    reasons: tuple[str, ...]
    remark: str


def decide(gate: Gate, map50: float, measured: Measured, live: Optional[Live], force: bool) -> Decision:
    """Judge a model; see the module's docstring for the rules.

    Args:
        map50: ``measured.map50``, which there must be.
        live: The live release, None on a first run.
    """
    reasons = []
    if map50 < gate.min_map:
        reasons.append(f"mAP@0.5 is {map50:.4f}, gate.min_map asks for {gate.min_map:g}")
    baseline, remark = None, ""
    if live is None:
        remark = "no live release to compare with"
    elif live.measured.model == measured.model:
        remark = f"the live release {live.release} carries this very model"
    elif _other_classes(live.measured, measured):
        classes = ", ".join(live.measured.labels)
        reasons.append(f"the live release {live.release} knows other classes ({classes}): the two cannot be compared")
    elif live.measured.map50 is None or live.measured.validation != measured.validation:
        cause = "was never measured" if live.measured.map50 is None else "was measured on other validation data"
        reasons.append(f"the live release {live.release} {cause}, so the two cannot be compared")
    else:
        baseline = live.measured.map50
        remark = f"the live release {live.release} has {baseline:.4f}"
        if baseline - map50 > gate.margin + 1e-9:
            reasons.append(
                f"mAP@0.5 is {map50:.4f}, {baseline - map50:.4f} below the live release {live.release} "
                f"({baseline:.4f}); gate.margin allows {gate.margin:g}"
            )
    return Decision(
        passed=not reasons or force,
        forced=bool(reasons) and force,
        map=map50,
        min_map=gate.min_map,
        margin=gate.margin,
        baseline=baseline,
        baseline_release=live.release if live else "",
        reasons=tuple(reasons),
        remark=remark,
    )


def _other_classes(one: Measured, other: Measured) -> bool:
    return bool(one.labels and other.labels) and one.labels != other.labels


@step("gate")
def gate(run: Run, measured: Measured, data: Optional[StepResult]) -> Optional[Decision]:
    """Let the model through, or stop the run; without validation data there is nothing to decide by (a note says so).

    Raises:
        GateError: With the reasons and the way past.
    """
    if measured.map50 is None:
        run.skip("there is no validation data to measure mAP on", "gate")
        return None
    live = read_live(run.workspace, run.spec.name)
    if live is not None and live.measured.model != measured.model and not _other_classes(live.measured, measured):
        live = replace(live, measured=measure_again(run, live.measured, data, str(measured.validation)))
    decision = decide(run.spec.gate, measured.map50, measured, live, run.force)
    facts: dict[str, Any] = asdict(decision)
    if not decision.passed:
        why = "; ".join(decision.reasons)
        run.record(StepFacts("gate", FAILED, note=why, facts=facts))
        raise GateError(
            "the gate stops this model; nothing was shipped",
            why,
            "train longer or on more data, change the spec's gate section, or say --force to ship it all the same",
        )
    verdict = f"forced through although {'; '.join(decision.reasons)}" if decision.forced else "passed"
    if decision.forced:
        run.notes.append(f"the gate was forced: {'; '.join(decision.reasons)}")
    note = f"{verdict}: mAP@0.5 {decision.map:.3f} >= {decision.min_map:g}" if not decision.forced else verdict
    run.record(StepFacts("gate", DECIDED, note=f"{note}; {decision.remark}" if decision.remark else note, facts=facts))
    return decision


def remember_measured(workspace: Workspace, release: str, measured: Measured) -> None:
    """Keep what a release was measured to be worth: a later run compares its model with the live release."""
    path = workspace.folder("measured") / f"{release}.json"
    write_atomic(path, json.dumps(sealed(asdict(measured)), indent=1), PRIVATE)


def read_live(workspace: Workspace, name: str) -> Optional[Live]:
    """The live release of a name, None before the first."""
    known = _read(workspace.root / "live" / f"{name}.json")
    if known is None:
        return None
    release = str(known.get("release", "(unknown)"))
    worth = _read(workspace.root / "measured" / f"{release}.json") or {}
    try:
        return Live(release, Measured(**{**_UNKNOWN, **worth, "labels": tuple(worth.get("labels") or ())}))
    except TypeError:  # it says other things than this version writes
        return Live(release, Measured(**_UNKNOWN))


_UNKNOWN: dict[str, Any] = {"model": "", "map50": None, "validation": None}


def _name(release: str) -> str:
    return release.rsplit("-", 1)[0]


def _read(path: Path) -> Optional[dict[str, Any]]:
    """A file's object; None when there is no file, empty when it was damaged: something was there."""
    opened = unsealed(read_json(path))
    return opened[0] if opened is not None else {} if os.path.lexists(path) else None
