"""Compares a device's detections with this workstation's, by the code that the device itself uses.

A device's own verdict is not trusted: it agrees only if its detections show it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jetlane.remote.agent.detect import verdict
from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.release.folder import Release


def sample_names(release: Release) -> list[str]:
    """The samples of a release, in the order in which a device sends them."""
    return [sample.file for sample in release.samples]


def compare(release: Release, samples: Sequence[Mapping[str, Any]], precision: str) -> dict[str, Any]:
    """Compare a device's detections with those that travel with the release.

    Args:
        samples: ``{"file", "boxes", "labels", "scores"}`` of each sample, in the release's order.
        precision: Selects the tolerances.

    Returns:
        As ``agent.verdict.judge``; ``agreed`` is False unless there is exactly one entry of each sample.
    """
    expected = release.samples
    rows = [
        {
            "file": sample.file,
            "expected": sample.detections,
            "found": Detections.from_json(dict(found)),
            "truth": sample.truth,
            "near_ties": sample.near_ties,
        }
        for sample, found in zip(expected, samples)
        if sample.file == found["file"]
    ]
    tolerances, thresholds = release.manifest["tolerances"], release.manifest["thresholds"]
    report = verdict.judge(rows, tolerances[precision], thresholds["score"])
    return {**report, "agreed": report["agreed"] and len(rows) == len(expected) == len(samples)}
