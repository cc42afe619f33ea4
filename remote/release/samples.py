"""``expected.json``: the samples of a release, and what the workstation found in each. Written and read here alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.near_ties import NearTies

EXPECTED = "expected.json"


@dataclass(frozen=True)
class ExpectedSample:
    """One sample.

    Attributes:
        file: Path of its image in the release.
        detections: The workstation's, above the release's threshold.
        truth: What the image really shows: ``{"boxes", "labels", "crowd", "size"}``; None where that is not known.
        near_ties: Detections that another rounding adds or takes away; None in releases that do not say.
        origin: The user's name of the image; None where that is not known.
    """

    file: str
    detections: Detections
    truth: Optional[Mapping[str, Any]] = None
    near_ties: Optional[NearTies] = None
    origin: Optional[str] = None

    def to_json(self) -> dict[str, Any]:
        truth = {"truth": dict(self.truth)} if self.truth is not None else {}
        near_ties = {"near_ties": self.near_ties.to_json()} if self.near_ties is not None else {}
        origin = {"origin": self.origin} if self.origin is not None else {}
        return {"file": self.file, **origin, **self.detections.to_json(), **truth, **near_ties}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> ExpectedSample:
        """Rebuild what ``to_json`` made."""
        near_ties = NearTies.from_json(entry["near_ties"]) if entry.get("near_ties") is not None else None
        found = Detections.from_json(dict(entry))
        return cls(str(entry["file"]), found, entry.get("truth"), near_ties, entry.get("origin"))


def samples_to_json(samples: Sequence[ExpectedSample], threshold: float) -> dict[str, Any]:
    """The content of ``expected.json``; ``threshold`` is the least score of its detections."""
    return {"threshold": threshold, "samples": [sample.to_json() for sample in samples]}


def read_samples(content: bytes) -> list[ExpectedSample]:
    """The samples in the bytes of ``expected.json``."""
    return [ExpectedSample.from_json(entry) for entry in json.loads(content)["samples"]]
