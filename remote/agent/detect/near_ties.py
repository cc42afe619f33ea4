"""Detections that hang on an overlap next to the limit of suppression: another rounding adds or takes them away."""

from typing import Any, Dict, Sequence

import numpy as np

from .detections import Detections


class NearTies(object):
    """Those of one image, kept and suppressed ones alike. The workstation finds them (``tasks.proof.near_ties``).

    Attributes:
        detections: In the original image.
        margins: float64 [N]: by how much overlaps would have to change for each of them to come or go.
    """

    def __init__(self, detections: Detections, margins: Sequence[float]) -> None:
        self.detections = detections
        self.margins = np.asarray(margins, np.float64).reshape(-1)
        if len(self.margins) != len(detections):
            raise ValueError("%d margins of %d near ties" % (len(self.margins), len(detections)))

    def within(self, most: float) -> Detections:
        """Those whose margin is at most ``most``."""
        near = self.margins <= most
        every = self.detections
        return Detections(every.boxes[near], every.labels[near], every.scores[near])

    def to_json(self) -> Dict[str, Any]:
        return dict(self.detections.to_json(), margins=[round(margin, 6) for margin in self.margins.tolist()])

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "NearTies":
        """Rebuild what ``to_json`` made.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        return cls(Detections.from_json(data), data["margins"])
