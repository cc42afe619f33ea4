"""The gate's rules, case by case."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from jetlane.specs.errors import GateError
from jetlane.specs.schema import Gate, RunSpec
from jetlane.tasks.gate import Live, decide, read_live, remember_measured, ship
from jetlane.tasks.proof.baseline import Measured
from jetlane.tasks.run.context import Run
from jetlane.tasks.run.facts import REFUSED
from jetlane.tasks.run.live_release import remember_live
from jetlane.tasks.run.workspace import Workspace

NEW = Measured(model="new", map50=0.80, validation="data", labels=("car", "dog"))


def live(map50: float | None = 0.80, model: str = "old", validation: str | None = "data", labels=()) -> Live:
    return Live("signs-0123456789ab", Measured(model, map50, validation, labels))


# Each row: the rule, mAP of the new model, what is live, least mAP, margin, forced, passes, words of the reasons.
RULES = [
    ("first run, good enough", 0.80, None, 0.5, 0.01, False, True, ""),
    ("first run, exactly the threshold", 0.50, None, 0.5, 0.01, False, True, ""),
    ("first run, too bad", 0.49, None, 0.5, 0.01, False, False, "gate.min_map asks for 0.5"),
    ("better than live", 0.90, live(0.80), 0.5, 0.0, False, True, ""),
    ("exactly the margin below live", 0.80, live(0.81), 0.5, 0.01, False, True, ""),
    ("more than the margin below live", 0.79, live(0.81), 0.5, 0.01, False, False, "below the live release"),
    ("bad in both ways", 0.40, live(0.81), 0.5, 0.01, False, False, "min_map"),
    ("the same model again", 0.80, live(0.99, model="new"), 0.5, 0.0, False, True, ""),
    ("live on other data", 0.80, live(0.80, validation="other"), 0.5, 0.01, False, False, "other validation data"),
    ("live knows the same classes", 0.80, live(0.80, labels=("car", "dog")), 0.5, 0.01, False, True, ""),
    ("live knows other classes", 0.80, live(0.80, labels=("dog", "car")), 0.5, 0.01, False, False, "(dog, car)"),
    ("live never measured", 0.80, live(None), 0.5, 0.01, False, False, "never measured"),
    ("forced over the threshold", 0.10, None, 0.5, 0.01, True, True, "min_map"),
    ("forced over a missing baseline", 0.80, live(None), 0.5, 0.01, True, True, "never measured"),
    ("force is not used when not needed", 0.80, None, 0.5, 0.01, True, True, ""),
]


@pytest.mark.parametrize(("rule", "map50", "before", "least", "margin", "force", "passes", "words"), RULES)
def test_the_gate_decides_by_least_map_and_margin(rule, map50, before, least, margin, force, passes, words) -> None:
    decision = decide(Gate(min_map=least, margin=margin), map50, NEW, before, force)
    assert decision.passed is passes
    assert words in "; ".join(decision.reasons)
    assert bool(decision.reasons) == bool(words)
    assert decision.forced == (force and bool(words))


CLASSES = {"car": 0.9, "dog": 0.6}
# Each row: the rule, the gate's section, AP@0.5 of the live release's classes, words of the reasons.
CLASS_RULES = [
    ("no thresholds", {}, {}, ""),
    ("one for all, reached", {"min_class_map": 0.6}, {}, ""),
    ("one for all, missed", {"min_class_map": 0.7}, {}, "AP@0.5 of dog is 0.6000, gate.min_class_map asks for 0.7"),
    ("by name, reached", {"min_class_map": {"car": 0.9}}, {}, ""),
    ("by name, missed", {"min_class_map": {"car": 0.95}}, {}, "AP@0.5 of car is 0.9000"),
    ("by a name that there is not", {"min_class_map": {"cat": 0.1}}, {}, "names cat, and the classes are car, dog"),
    ("fallen, not compared", {}, {"car": 1.0, "dog": 1.0}, ""),
    ("fallen by the margin", {"class_margin": 0.1}, {"car": 1.0, "dog": 0.6}, ""),
    ("fallen by more", {"class_margin": 0.05}, {"car": 1.0, "dog": 0.6}, "AP@0.5 of car is 0.9000, 0.1000 below"),
    ("not shown by the data", {"class_margin": 0.05, "min_class_map": 0.5}, {"cat": 1.0}, ""),
]


@pytest.mark.parametrize(("rule", "asked", "before", "words"), CLASS_RULES)
def test_the_gate_decides_by_class(rule, asked, before, words) -> None:
    measured = replace(NEW, classes=CLASSES)
    known = Live("signs-0123456789ab", replace(NEW, model="old", classes=before))
    decision = decide(Gate(**asked), 0.80, measured, known, force=False)
    assert words in "; ".join(decision.reasons) and bool(decision.reasons) == bool(words)


# Each row: the gate's section, matched detections, a fleet, --force, words of the refusal, words of the notes.
SHIPPED = [
    ({}, 5, True, False, "", ""),
    ({}, 0, True, False, "the model is not proven: in no sample was anything found", ""),
    ({}, 0, False, False, "", ""),
    ({"allow_not_proven": True}, 0, True, False, "", ""),
    ({}, 0, True, True, "", "the gate was forced: the model is not proven"),
    ({"max_release_mb": 1.5}, 5, True, False, "", ""),
    ({"max_release_mb": 1.4}, 5, True, False, "the release has 1.5 MB, gate.max_release_mb allows 1.4", ""),
]


@pytest.mark.parametrize(("asked", "matched", "fleet", "force", "refusal", "note"), SHIPPED)
def test_what_is_shipped_is_proven_and_not_too_large(asked, matched, fleet, force, refusal, note, tmp_path) -> None:
    files = {"model.uff": {"size": 1_000_000}, "labels.txt": {"size": 500_000}}
    (tmp_path / "manifest.json").write_text(json.dumps({"files": files}))

    spec = RunSpec(
        name="signs", dataset={"shapes": {}}, gate=asked, fleet={"virtual": int(fleet)},
        workspace={"path": str(tmp_path / "w")},
    )  # fmt: skip
    proof = cast(Any, SimpleNamespace(facts={"agreement": {"matched": matched}}))
    with Run(spec, force=force) as run:
        if refusal:
            with pytest.raises(GateError, match=re.escape(refusal)) as caught:
                ship(run, proof, tmp_path)
            assert caught.value.exit_code == 3 and run.steps[-1].state == REFUSED
        else:
            ship(run, proof, tmp_path)
        assert note in "; ".join(run.notes) and bool(run.notes) == bool(note)


def test_what_is_live_is_remembered_with_what_it_was_worth(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert read_live(workspace, "signs") is None
    remember_measured(workspace, "signs-0123456789ab", NEW)
    remember_measured(workspace, "signs-ba9876543210", Measured("other", 0.7, "data"))
    remember_live(workspace, "signs-0123456789ab")
    assert read_live(workspace, "signs") == Live("signs-0123456789ab", NEW)
    remember_live(workspace, "signs-ba9876543210")  # as a rollback does
    found = read_live(workspace, "signs")
    assert found is not None and found.measured.map50 == 0.7


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_damaged_note_of_what_is_live_is_not_a_first_run(tmp_path: Path, damage: str) -> None:
    workspace = Workspace(tmp_path)
    remember_live(workspace, "signs-0123456789ab")
    (tmp_path / "live" / "signs.json").write_text(damage)
    before = read_live(workspace, "signs")
    assert before is not None
    assert not decide(Gate(), 0.9, NEW, before, force=False).passed
