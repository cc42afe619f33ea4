"""The report of a run: one self-contained HTML page, drawn from ``RunFacts`` and the release's samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jetlane.tasks.reporting.chart import loss_curve
from jetlane.tasks.reporting.pages import page_environment
from jetlane.tasks.reporting.pictures import load_pictures
from jetlane.tasks.run.facts import FAILED, NOTHING_COMPARED, REFUSED, RunFacts
from jetlane.tasks.run.workspace import write_atomic

MAP50 = "Precision/mAP@.50IOU"


def write_report(out: Path, facts: RunFacts) -> Path:
    """Write ``report.html`` into ``out`` and return its path.

    Args:
        out: A folder; made when missing.
        facts: What the run did. The pictures are read from ``facts.release_path``; a run that made no release has none.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "report.html"
    write_atomic(path, render(facts))
    return path


def render(facts: RunFacts) -> str:
    """The page's HTML: no script, no link to any other file or host."""
    shown = next((device for device in facts.devices if device.detections), None)
    pictures = []
    if facts.release_path and Path(facts.release_path).is_dir():
        pictures = load_pictures(Path(facts.release_path), shown.detections if shown else (), facts.labels)
    return (
        page_environment()
        .get_template("report.html.j2")
        .render(
            facts=facts,
            verdict=verdict(facts),
            chart=loss_curve(facts.loss_curve),
            pictures=pictures,
            shown=shown,
            agreements=agreements(facts),
            map50=facts.metrics.get(MAP50),
            longest=max((step.seconds for step in facts.steps), default=0.0) or 1.0,
        )
    )


def verdict(facts: RunFacts) -> tuple[str, str]:
    """(good|bad, sentence): where the run ended, in a line."""
    failed = next((step for step in facts.steps if step.state == FAILED), None)
    refused = next((step for step in facts.steps if step.state == REFUSED), None)
    if refused is not None:
        return "bad", f"Refused by the gate; nothing was shipped, and every device keeps what it runs. {refused.note}"
    if failed is not None:
        return "bad", f"Stopped at {failed.name}. {failed.note}".strip()
    if facts.error:
        return "bad", f"Stopped. {facts.error}"
    running = sum(device.state in ("active", "unchanged") for device in facts.devices)
    if facts.preflight.get("agreement", {}).get("matched") == 0:
        ends = f"{running} of {len(facts.devices)} devices run this release" if facts.devices else "Made"
        return "bad", f"{ends}, not proven: {NOTHING_COMPARED}."
    if not facts.devices:
        return "good", "Made and proven; no device was asked for."
    if running == len(facts.devices):
        plural = "device runs" if running == 1 else "devices run"
        return "good", f"{running} {plural} this release, verified on the device."
    return "bad", f"{running} of {len(facts.devices)} devices run this release."


def agreements(facts: RunFacts) -> list[tuple[str, Mapping[str, Any]]]:
    """(who was held against TensorFlow's detections, verdict): the converted model here, then every device."""
    here = facts.preflight.get("agreement")
    rows = [("converted model, workstation", here)] if here else []
    for backend, found in facts.preflight.get("tensorrt", {}).items():
        if "left_out" not in found:
            rows.append((f"TensorRT {found['version']}, {found.get('place', 'workstation')} ({backend})", found))
    return rows + [(device.name, device.agreement) for device in facts.devices if device.agreement]
