"""Compares a device's detections with this workstation's, by the code that the device itself uses.

A device's own verdict is not trusted: it agrees only if its detections show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jetlane.remote.agent.detect import verdict
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.release.folder import Release


def sample_names(release: Release) -> list[str]:
    """The samples of a release, in the order in which a device sends them."""
    return [str(entry["file"]) for entry in _expected(release)]


def compare(release: Release, samples: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """Compare a device's detections with those that travel with the release.

    Args:
        samples: ``{"file", "boxes", "labels", "scores"}`` of each sample, in the release's order.
        precision: Selects the tolerances.

    Returns:
        As ``agent.verdict.judge``; ``agreed`` is False unless there is exactly one entry of each sample.
    """
    expected = _expected(release)
    rows = [
        {
            "file": entry["file"],
            "expected": Detections.from_json(dict(entry)),
            "found": Detections.from_json(dict(sample)),
            "truth": entry.get("truth"),
        }
        for entry, sample in zip(expected, samples)
        if entry["file"] == sample["file"]
    ]
    tolerances, thresholds = release.manifest["tolerances"], release.manifest["thresholds"]
    report = verdict.judge(rows, tolerances[precision], thresholds["score"])
    return {**report, "agreed": report["agreed"] and len(rows) == len(expected) == len(samples)}


def _expected(release: Release) -> list[Mapping[str, Any]]:
    entries: list[Mapping[str, Any]] = json.loads(release.file("expected.json").read_bytes())["samples"]
    return entries
