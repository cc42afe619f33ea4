"""Devices and their engines, and where they differ from TensorFlow, as the report shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.proof.worst_pairs import WorstPair, worst_pairs
from jetlane.tasks.reporting.pages import figure
from jetlane.tasks.reporting.verdict import board_words
from jetlane.tasks.run.facts import RUNNING, DeviceFacts, RunFacts

#: Devices that the page lists, and those that it compares with TensorFlow.
DEVICES, AGREEMENTS = 300, 40
#: Parts of a latency: key, and what it is.
LATENCY = (
    ("engine_median_ms", "engine, median"),
    ("engine_p95_ms", "engine, 95th percentile"),
    ("input_median_ms", "input"),
    ("nms_median_ms", "suppression"),
    ("total_median_ms", "image to detections, median"),
)
#: Engines that a preflight in a TensorRT or onnxruntime gives the same rows.
Agreement = Mapping[str, Any]


@dataclass(frozen=True)
class Board:
    """One device: what it is, and the facts of its engine in words."""

    device: DeviceFacts
    words: str
    engine: tuple[tuple[str, str], ...]


def board_rows(facts: RunFacts) -> list[Board]:
    """In the order of the inventory; of a large fleet those that failed, and some of the others."""
    shown = facts.devices
    if len(shown) > DEVICES:
        shown = tuple(sorted(shown, key=lambda device: device.state in RUNNING)[:DEVICES])
    return [Board(device, board_words(device), _engine(device)) for device in shown]


def _engine(device: DeviceFacts) -> tuple[tuple[str, str], ...]:
    found = device.agreement
    conditions = found.get("conditions") or {}
    mode, memory = conditions.get("power_mode") or {}, found.get("peak_memory")
    rows = [
        ("backend", device.backend),
        ("precision", str(found.get("precision") or "")),
        ("engine", device.engine_key),
        ("built in", f"{device.seconds['build']:.1f} s" if "build" in device.seconds else ""),
        *((f"latency, {words}", f"{value:.2f} ms") for words, value in latency_parts(found)),
        ("power mode", str(mode.get("name") or "")),
        ("clocks", _clocks(conditions)),
        ("temperatures", ", ".join(f"{n} {t:g} °C" for n, t in (conditions.get("temperatures") or {}).items())),
        ("memory of the process", f"{memory / 1e6:.0f} MB" if memory else ""),
        ("signed", "" if device.signed else "no key is enrolled: it takes anybody's releases"),
    ]
    return tuple((name, value) for name, value in rows if value)


def latency_parts(agreement: Agreement) -> list[tuple[str, float]]:
    """(what, milliseconds) that a board reported."""
    given = agreement.get("latency") or {}
    return [(words, float(given[key])) for key, words in LATENCY if isinstance(given.get(key), (int, float))]


def _clocks(conditions: Mapping[str, Any]) -> str:
    clocks = (("GPU", conditions.get("gpu_clock")), ("CPU", conditions.get("cpu_clock")))
    known = [(name, clock) for name, clock in clocks if clock and clock.get("now")]
    return ", ".join(
        f"{name} {clock['now'] / 1e6:.0f} of {(clock.get('max') or clock['now']) / 1e6:.0f} MHz"
        for name, clock in known
    )


def agreements(facts: RunFacts) -> list[tuple[str, Agreement]]:
    """(who was held against TensorFlow's detections, verdict): the converted model here, then the devices that are
    furthest from it.
    """
    here = facts.preflight.get("agreement")
    rows = [("converted model, workstation", here)] if here else []
    for backend, found in facts.preflight.get("tensorrt", {}).items():
        if "left_out" not in found:
            rows.append((f"TensorRT {found['version']}, {found.get('place', 'workstation')} ({backend})", found))
    devices = [(device.name, device.agreement) for device in facts.devices if device.agreement]
    return rows + sorted(devices, key=lambda row: row[1].get("lowest_iou") or 0.0)[:AGREEMENTS]


@dataclass(frozen=True)
class Difference:
    """A worst pair with its words."""

    pair: WorstPair
    who: str
    words: str


def differences(facts: RunFacts, release: Optional[Path], labels: Sequence[str]) -> list[Difference]:
    """Where the converted model, and the first device that answered, are furthest from TensorFlow."""
    found = [_difference(WorstPair(**one), "converted model", labels) for one in compared(facts).get("worst", ())]
    device = next((one for one in facts.devices if one.detections), None)
    if device is not None and release is not None:
        found += [_difference(pair, device.name, labels) for pair in _on_device(device, release)]
    return found


def compared(facts: RunFacts) -> Mapping[str, Any]:
    """What preflight kept for people; empty where it is gone."""
    try:
        found: Mapping[str, Any] = json.loads(Path(facts.compared).read_text()) if facts.compared else {}
    except (OSError, ValueError):  # it was tidied away
        return {}
    return found


def _on_device(device: DeviceFacts, release: Path) -> list[WorstPair]:
    samples = json.loads((release / "expected.json").read_text())["samples"]
    found = {Path(one["file"]).name: one for one in device.detections}
    both = [(one, found[Path(one["file"]).name]) for one in samples if Path(one["file"]).name in found]
    tolerance = device.agreement.get("tolerance")
    if not both or not tolerance:
        return []
    return worst_pairs(
        [np.load(release / one["file"], mmap_mode="r") for one, _ in both],
        [str(one.get("origin") or Path(one["file"]).name) for one, _ in both],
        [_detections(one) for one, _ in both],
        [_detections(one) for _, one in both],
        threshold=float(device.agreement.get("threshold", 0.0)),
        min_iou=float(tolerance["iou"]),
        max_score_difference=float(tolerance["score"]),
    )


def _detections(row: Mapping[str, Any]) -> Detections:
    return Detections(row["boxes"], row["labels"], row["scores"])


def _difference(pair: WorstPair, who: str, labels: Sequence[str]) -> Difference:
    name = labels[pair.label - 1] if 0 < pair.label <= len(labels) else str(pair.label)
    if pair.got is None:
        return Difference(pair, who, f"{name} {figure(pair.expected_score)}: not found")
    if pair.expected is None:
        return Difference(pair, who, f"{name} {figure(pair.got_score)}: found by it alone")
    apart = abs(float(pair.expected_score or 0) - float(pair.got_score or 0))
    return Difference(
        pair,
        who,
        f"{name}: IoU {pair.iou:.5f}, score {pair.expected_score:.4f} and {pair.got_score:.4f} ({apart:.1g} apart)",
    )
