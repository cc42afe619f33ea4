"""Detections that hang on an overlap next to the limit of suppression, or on the order of two scores that are almost
equal: another rounding adds or takes them away."""

from typing import Any, Dict, Optional, Sequence

import numpy as np

from .arrays import Array
from .detections import Detections, iou_matrix


class NearTies(object):
    """Those of one image, kept and suppressed ones alike. The workstation finds them (``tasks.proof.near_ties``).

    Attributes:
        detections: In the original image.
        margins: float64 [N]: by how much overlaps would have to change for each of them to come or go (of a score's
            change, twice as much).
        limit: The overlap above which a box suppresses another; None in older releases.
    """

    def __init__(self, detections: Detections, margins: Sequence[float], limit: Optional[float] = None) -> None:
        self.detections = detections
        self.margins = np.asarray(margins, np.float64).reshape(-1)
        self.limit = limit
        if len(self.margins) != len(detections):
            raise ValueError("%d margins of %d near ties" % (len(self.margins), len(detections)))

    def within(self, most: float) -> "NearTies":
        """Those whose margin is at most ``most``."""
        near = self.margins <= most
        every = self.detections
        chosen = Detections(every.boxes[near], every.labels[near], every.scores[near])
        return NearTies(chosen, self.margins[near].tolist(), self.limit)

    def excused(self, missing: Detections, found: Detections) -> Array:
        """bool [missing]: whether another box is there in its place, one that may have suppressed it.

        Half of the limit's overlap will do: the boxes differ from those that were compared on the board by being
        clipped to the image.
        """
        if self.limit is None:
            return np.ones(len(missing), bool)
        near = iou_matrix(missing.boxes, found.boxes) >= self.limit / 2.0
        there: Array = (near & (missing.labels[:, None] == found.labels[None, :])).any(axis=1)
        return there

    def to_json(self) -> Dict[str, Any]:
        limit = {} if self.limit is None else {"limit": self.limit}
        return dict(self.detections.to_json(), margins=[round(margin, 6) for margin in self.margins.tolist()], **limit)

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "NearTies":
        """Rebuild what ``to_json`` made.

        Raises:
            ValueError, TypeError, KeyError: It is something else.
        """
        limit = data.get("limit")
        return cls(Detections.from_json(data), data["margins"], None if limit is None else float(limit))
