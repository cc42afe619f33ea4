"""Step ``gate``: is the retrained model good enough, and not worse than what is live?

A decision, taken anew in every run, because the live release is part of it:

* the model's mAP@0.5 must reach ``gate.min_map``;
* where a release of the same name is live and was measured on the same validation data, the model may be at most
  ``gate.margin`` below it (exactly that much below still passes);
* the same holds for the AP@0.5 of classes, by ``gate.min_class_map`` and ``gate.class_margin``; a class that the
  validation data does not show is not judged;
* the first run has no live release: the thresholds alone decide;
* a live release that was measured on other data is measured again on this run's, where its graph is still there;
* a live release that knows other classes, or has no comparable numbers, stops the run, as it cannot be known
  whether the new model is worse; ``--force`` says that a person looked;
* ``--force`` lets a refused model through, and the refusal is recorded in the report.

Before anything is sent to a device, ``ship`` looks at what is to be sent: a model that found nothing in the samples was
compared with nothing, and is not proven (``gate.allow_not_proven``); it may miss objects in images that were named
(``gate.slices``); a release may be too large (``gate.max_release_mb``). Whether it is too slow
(``gate.max_latency_ms``) each device says, after verifying it and before it is activated there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Optional

from jetlane.specs.errors import GateError
from jetlane.specs.schema import Gate
from jetlane.specs.support.local_files import PRIVATE, read_json
from jetlane.tasks.proof.baseline import Measured, measure_again
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.digests import sealed, unsealed
from jetlane.tasks.run.facts import DECIDED, NOTHING_COMPARED, REFUSED, StepFacts
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
    reasons += _low_classes(gate, measured)
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
        reasons += _fallen_classes(gate, measured, live)
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


def _low_classes(gate: Gate, measured: Measured) -> Iterator[str]:
    """Classes below their threshold, and thresholds of classes that there are not."""
    by_name = gate.min_class_map if isinstance(gate.min_class_map, dict) else {}
    for name in by_name:
        if measured.labels and name not in measured.labels:
            yield f"gate.min_class_map names {name}, and the classes are {', '.join(measured.labels)}"
    for name, found in measured.classes.items():
        least = by_name.get(name, 0.0) if isinstance(gate.min_class_map, dict) else gate.min_class_map
        if found < least:
            yield f"AP@0.5 of {name} is {found:.4f}, gate.min_class_map asks for {least:g}"


def _fallen_classes(gate: Gate, measured: Measured, live: Live) -> Iterator[str]:
    for name, before in live.measured.classes.items():
        found = measured.classes.get(name)
        if gate.class_margin is not None and found is not None and before - found > gate.class_margin + 1e-9:
            yield (
                f"AP@0.5 of {name} is {found:.4f}, {before - found:.4f} below the live release {live.release} "
                f"({before:.4f}); gate.class_margin allows {gate.class_margin:g}"
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
        advice = "train longer or on more data, change the spec's gate section, or say --force to ship it all the same"
        _refuse(run, decision.reasons, advice, facts)
    verdict = f"forced through although {'; '.join(decision.reasons)}" if decision.forced else "passed"
    if decision.forced:
        run.notes.append(f"the gate was forced: {'; '.join(decision.reasons)}")
    note = f"{verdict}: mAP@0.5 {decision.map:.3f} >= {decision.min_map:g}" if not decision.forced else verdict
    run.record(StepFacts("gate", DECIDED, note=f"{note}; {decision.remark}" if decision.remark else note, facts=facts))
    return decision


def ship(run: Run, proof: StepResult, release: Path, unmet: Iterable[str] = ()) -> None:
    """Let a release out to devices, or stop the run; without devices there is nothing to decide.

    Args:
        unmet: What is wrong with slices: see ``jetlane.tasks.slices``.

    Raises:
        GateError: Nothing could be compared, objects of a slice are missed, or the release is too large.
    """
    asked = run.spec.gate
    if run.spec.fleet.inventory is None and not run.spec.fleet.virtual:
        return
    advice = {}  # by reason
    if proof.facts["agreement"]["matched"] == 0 and not asked.allow_not_proven:
        reason = f"the model is not proven: {NOTHING_COMPARED}"
        advice[reason] = (
            "train longer or on more data, or name images of what it detects as verify.images; "
            "or set gate.allow_not_proven, or say --force"
        )
    advice.update(dict.fromkeys(unmet, "train on more images like these, change gate.slices, or say --force"))
    size = _sent_bytes(release) / 1e6
    if asked.max_release_mb is not None and size > asked.max_release_mb:
        reason = f"the release has {size:.1f} MB, gate.max_release_mb allows {asked.max_release_mb:g}"
        advice[reason] = "take a smaller network, change gate.max_release_mb, or say --force"
    reasons = tuple(advice)
    if reasons and not run.force:
        _refuse(run, reasons, advice[reasons[0]], {"passed": False, "forced": False, "reasons": reasons})
    for reason in reasons:
        run.note(f"the gate was forced: {reason}")


def _sent_bytes(release: Path) -> int:
    """Of the files that a device gets."""
    files = json.loads((release / "manifest.json").read_text())["files"]
    return sum(entry["size"] for entry in files.values())


def _refuse(run: Run, reasons: tuple[str, ...], advice: str, facts: Mapping[str, Any]) -> NoReturn:
    why = "; ".join(reasons)
    run.record(StepFacts("gate", REFUSED, note=why, facts=facts))
    raise GateError("the gate refuses this model; nothing was shipped", why, advice)


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


def _read(path: Path) -> Optional[dict[str, Any]]:
    """A file's object; None when there is no file, empty when it was damaged: something was there."""
    opened = unsealed(read_json(path))
    return opened[0] if opened is not None else {} if os.path.lexists(path) else None
