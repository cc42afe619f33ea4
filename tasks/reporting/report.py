"""The report of a run: one self-contained HTML page, drawn from ``RunFacts`` and the release's samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.reporting import boards, quality
from jetlane.tasks.reporting.chart import loss_curve, validation_curve
from jetlane.tasks.reporting.pages import page_environment
from jetlane.tasks.reporting.pictures import Side, load_pictures
from jetlane.tasks.reporting.provenance import file_sizes, manifest_of, provenance
from jetlane.tasks.reporting.verdict import verdict
from jetlane.tasks.run.facts import RUNNING, RunFacts
from jetlane.tasks.run.workspace import write_atomic

MAP50 = "Precision/mAP@.50IOU"


def write_report(out: Path, facts: RunFacts) -> Path:
    """Write ``report.html`` into ``out`` and return its path.

    Args:
        out: A folder; made when missing.
        facts: What the run did. The pictures are read from ``facts.release_path`` and ``facts.compared``; a run
            that made no release has none.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "report.html"
    write_atomic(path, render(facts))
    return path


def render(facts: RunFacts) -> str:
    """The page's HTML: no script, no link to any other file or host."""
    release = Path(facts.release_path) if facts.release_path and Path(facts.release_path).is_dir() else None
    manifest = manifest_of(release)
    shown = next((device for device in facts.devices if device.detections), None)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            verdict=verdict(facts),
            map50=_map50(facts),
            running=sum(device.state in RUNNING for device in facts.devices),
            sizes=file_sizes(manifest),
            loss=loss_curve(facts.loss_curve),
            validation=validation_curve(facts.validation_curve),
            classes=quality.class_rows(facts),
            curves=quality.curves(facts.curves, {name: one.get("AP@0.5") for name, one in facts.per_class.items()}),
            confusion=quality.confusion(facts.confusion),
            rules=quality.gate_rules(facts),
            splits=quality.splits(facts),
            bins=quality.anchor_bins(facts),
            notes=[note for note in facts.notes if note not in facts.anchor_fit.get("lines", ())],
            agreements=boards.agreements(facts),
            differences=boards.differences(facts, release, facts.labels),
            boards=boards.board_rows(facts),
            pictures=load_pictures(release, _sides(facts), facts.labels) if release else [],
            shown=shown,
            provenance=provenance(facts, manifest),
            longest=max((step.seconds for step in facts.steps), default=0.0) or 1.0,
        )
    )


def _map50(facts: RunFacts) -> Optional[float]:
    measured = facts.metrics.get(MAP50)
    found = (facts.preflight.get("mAP") or {}).get("tensorflow") or {}
    return measured if measured is not None else found.get("mAP@0.5")


def _sides(facts: RunFacts) -> list[Side]:
    """Whose detections stand beside TensorFlow's: a device's, else the converted model's."""
    device = next((one for one in facts.devices if one.detections), None)
    if device is not None:
        return [Side(f"{device.name}, {device.backend} engine", _by_file(device.detections))]
    converted = boards.compared(facts).get("converted", ())
    numbered = [{**one, "file": f"{number:03d}.npy"} for number, one in enumerate(converted)]
    return [Side("converted model, this workstation", _by_file(numbered))] if numbered else []


def _by_file(rows: Any) -> dict[str, Mapping[str, Any]]:
    return {Path(row["file"]).name: row for row in rows}
