"""How good a model is, as the report's tables show it: classes, curves, what is taken for what, the gate's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from jetlane.tasks.reporting.chart import precision_recall
from jetlane.tasks.run.facts import RunFacts

#: Curves that are drawn, those of the worst classes; classes of a confusion matrix that is drawn whole; confusions
#: that are listed of a larger one.
CURVES, WHOLE, _LISTED = 24, 16, 15
NOTHING = "(nothing)"


@dataclass(frozen=True)
class ClassRow:
    """One class; None where it is not known."""

    name: str
    ap: Optional[float]
    ap50: Optional[float]
    best: Optional[Mapping[str, float]]
    train: Optional[int]
    validation: Optional[int]


@dataclass(frozen=True)
class Curve:
    """Precision by recall of one class."""

    name: str
    svg: str
    ap50: Optional[float]


@dataclass(frozen=True)
class Cell:
    """How often a class was found as another; ``share`` is of its row."""

    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class Confusion:
    """What was taken for what.

    Attributes:
        classes: Names of rows (as it is) and columns (as it was found), the last for nothing.
        rows: The whole matrix; empty where it is too large to be drawn.
        listed: (as it is, as it was found, count) of the most frequent confusions.
    """

    classes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    listed: tuple[tuple[str, str, int], ...]
    score: float
    iou: float


@dataclass(frozen=True)
class Rule:
    """What the gate asked for, what it found, and what came of that: ``good``, ``bad`` or empty for neither."""

    asked: str
    found: str
    result: str
    tone: str = ""


def anchor_bins(facts: RunFacts) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """(unit, what is counted, bins from the first with an object to the last) of the histograms of objects."""
    shown = (
        ("sides", "pixels", "Objects by side in the network's input"),
        ("ratios", "width / height", "Objects by shape in the network's input"),
    )
    found = []
    for name, unit, words in shown:
        bins = list(facts.anchor_fit.get(name) or ())
        filled = [index for index, one in enumerate(bins) if one["objects"]]
        if filled:
            found.append((unit, words, bins[filled[0] : filled[-1] + 1]))
    return found


def class_rows(facts: RunFacts) -> list[ClassRow]:
    """Every class that was measured or is in the data, in the order of the labels."""
    objects = {split: dict(stats.get("objects_per_class", {})) for split, stats in splits(facts).items()}
    names = list(dict.fromkeys([*facts.labels, *facts.per_class, *(name for of in objects.values() for name in of)]))
    if not facts.per_class and not objects:
        return []
    return [
        ClassRow(
            name,
            facts.per_class.get(name, {}).get("AP"),
            facts.per_class.get(name, {}).get("AP@0.5"),
            facts.curves.get(name, {}).get("best"),
            objects["train"].get(name, 0) if "train" in objects else None,
            objects["validation"].get(name, 0) if "validation" in objects else None,
        )
        for name in names
    ]


def splits(facts: RunFacts) -> dict[str, Mapping[str, Any]]:
    """What the data set step recorded of each split."""
    return {split: stats for split, stats in facts.dataset.items() if isinstance(stats, Mapping)}


def curves(given: Mapping[str, Any], ap50: Mapping[str, Optional[float]]) -> list[Curve]:
    """Those of the worst classes first.

    Args:
        given: As ``coco_detail`` gives them.
        ap50: AP@0.5 by class.
    """
    worst = sorted(given, key=lambda name: ap50.get(name) or 0.0)[:CURVES]
    return [
        Curve(name, precision_recall(given[name]["precision"], _words(name, ap50.get(name))), ap50.get(name))
        for name in worst
    ]


def _words(name: str, ap50: Optional[float]) -> str:
    return f"precision by recall of {name}" + (f", AP@0.5 {ap50:.3f}" if ap50 is not None else "")


def confusion(given: Mapping[str, Any]) -> Optional[Confusion]:
    """As ``coco_detail`` gives it; None where nothing was evaluated."""
    if not given:
        return None
    classes = (*given["classes"], NOTHING)
    counts = given["counts"]
    found = [
        (classes[row], classes[column], count)
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
        if count and row != column
    ]
    rows = []
    if len(given["classes"]) <= WHOLE:
        for row, line in enumerate(counts):
            total = sum(line) or 1
            cells = tuple(Cell(count, count / total, row == column) for column, count in enumerate(line))
            rows.append((classes[row], cells))
    listed = sorted(found, key=lambda one: -one[2])[:_LISTED]
    return Confusion(classes, tuple(rows), tuple(listed), given["score"], given["iou"])


def gate_rules(facts: RunFacts) -> list[Rule]:
    """The gate in words; empty where it did not decide."""
    gate, asked = facts.gate, facts.spec.get("gate") or {}
    if not gate:
        return []
    rules = []
    if gate.get("map") is not None:
        new, least = float(gate["map"]), float(gate["min_map"])
        rules.append(_rule(f"mAP@0.5 of at least {least:g}", f"{new:.3f}", new >= least))
        rules.append(_against_live(gate, new))
    rules += _class_rules(facts, asked)
    compared = facts.preflight.get("agreement")
    if compared:
        matched = int(compared.get("matched") or 0)
        rules.append(_rule("something that could be compared with TensorFlow", f"{matched} detections", matched > 0))
    if asked.get("max_release_mb") is not None:
        found = "see why below" if any("MB" in reason for reason in gate.get("reasons") or ()) else "less"
        rules.append(_rule(f"a release of at most {asked['max_release_mb']:g} MB", found, found == "less"))
    return rules


def _rule(asked: str, found: str, kept: bool) -> Rule:
    return Rule(asked, found, "met" if kept else "not met", "good" if kept else "bad")


def _against_live(gate: Mapping[str, Any], new: float) -> Rule:
    margin = float(gate.get("margin") or 0.0)
    asked = (
        f"mAP@0.5 at most {margin:g} below that of the live release"
        if margin
        else "mAP@0.5 not below that of the live release"
    )
    baseline = gate.get("baseline")
    if baseline is None:
        why = str(gate.get("remark") or "; ".join(gate.get("reasons") or ()) or "no live release to compare with")
        return Rule(asked, why, "not compared")
    difference = new - float(baseline)
    live = f"{gate.get('baseline_release') or 'the live release'} has {float(baseline):.3f}"
    return _rule(asked, f"{live}, this model {difference:+.3f}", difference >= -margin - 1e-9)


def _class_rules(facts: RunFacts, asked: Mapping[str, Any]) -> list[Rule]:
    """Thresholds of classes, where the spec has any."""
    least = asked.get("min_class_map")
    found = {name: one["AP@0.5"] for name, one in facts.per_class.items() if one.get("AP@0.5") is not None}
    rules = []
    if isinstance(least, Mapping):
        for name, limit in least.items():
            value = found.get(name)
            if value is not None:
                rules.append(_rule(f"AP@0.5 of {name} of at least {float(limit):g}", f"{value:.3f}", value >= limit))
    elif least and found:
        worst = min(found, key=lambda name: found[name])
        rules.append(
            _rule(
                f"AP@0.5 of every class of at least {float(least):g}",
                f"{worst} has {found[worst]:.3f}",
                found[worst] >= least,
            )
        )
    if asked.get("class_margin") is not None:
        fallen = [reason for reason in facts.gate.get("reasons") or () if "class_margin" in reason]
        said = "; ".join(fallen) or (
            "no class fell further" if facts.gate.get("baseline") is not None else "not compared"
        )
        limit = f"AP@0.5 of every class at most {float(asked['class_margin']):g} below that of the live release"
        rules.append(_rule(limit, said, not fallen) if said != "not compared" else Rule(limit, said, "not compared"))
    return rules
