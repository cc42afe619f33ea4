"""The gate's rules, case by case."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.specs.schema import Gate
from jetlane.tasks.gate import Live, decide, read_live, remember_measured
from jetlane.tasks.proof.baseline import Measured
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
