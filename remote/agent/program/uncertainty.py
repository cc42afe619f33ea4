"""Which frames a label would teach most: told from the detections of a camera's frames, in their order.

Nothing is tracked. A frame is compared with the one before and the one after alone.
"""

from typing import Any, NamedTuple, Optional, Tuple

import numpy as np

from ..detect.arrays import Array
from ..detect.detections import Detections, iou_matrix

#: IoU of one object in two frames that follow each other, and of one that has not moved.
SAME, STILL = 0.5, 0.8
SCORE, FLICKER, RANDOM = "score", "flicker", "random"

#: Boxes float32 [N, 4] and labels int32 [N].
Places = NamedTuple("Places", [("boxes", Array), ("labels", Array)])


#: Why a frame is worth a label: ``reason`` is ``score``, ``flicker`` or ``random``; ``rank`` says how much, 0 to 1, as
#: the lowest goes first where there is no room; ``gone`` are the objects that a flicker lacks, if they come back.
Doubt = NamedTuple("Doubt", [("reason", str), ("rank", float), ("gone", Optional[Places])])


def places(found: Detections) -> Places:
    return Places(found.boxes, found.labels)


def have_partner(first: Places, second: Any, iou: float) -> Array:
    """Which of the first objects, bool [N], have one of the second of their class at their place."""
    if not len(first.labels) or not len(second.labels):
        return np.zeros(len(first.labels), bool)
    near = iou_matrix(first.boxes, second.boxes) >= iou
    partners: Array = (near & (first.labels[:, None] == second.labels[None, :])).any(axis=1)
    return partners


def by_score(found: Detections, band: Tuple[float, float], known: Places) -> Optional[Doubt]:
    """Doubt of a detection whose score is in the band, and that is not known from the last frame that was kept.

    It ranks by how near the score is to the middle of the band.
    """
    low, high = band
    within = (found.scores >= low) & (found.scores <= high)
    if not within.any():
        return None
    doubtful = Places(found.boxes[within], found.labels[within])
    fresh = ~have_partner(doubtful, known, STILL)
    if not fresh.any():
        return None
    middle, half = (low + high) / 2.0, max((high - low) / 2.0, 1e-6)
    distance = float((np.abs(found.scores[within][fresh] - middle) / half).min())
    return Doubt(SCORE, max(1.0 - distance, 0.0), None)


def by_absence(before: Detections, found: Detections, sure: float, known: Places) -> Optional[Doubt]:
    """Doubt of a frame that lacks a sure object of the one before: it is gone, or of another class.

    Whether it flickered is told by the next frame (``came_back``). It ranks by the score that it had.
    """
    certain = before.scores > sure
    if not certain.any():
        return None
    there = Places(before.boxes[certain], before.labels[certain])
    gone = ~have_partner(there, found, SAME)
    if not gone.any():
        return None
    gone &= ~have_partner(there, known, STILL)
    if not gone.any():
        return None
    rank = min(float(before.scores[certain][gone].max()), 1.0)
    return Doubt(FLICKER, rank, Places(there.boxes[gone], there.labels[gone]))


def came_back(gone: Places, found: Detections) -> bool:
    """Whether an object that was missing in the frame before is there again."""
    return bool(have_partner(gone, found, SAME).any())


def joined(first: Places, second: Optional[Places]) -> Places:
    """The objects of both."""
    if second is None:
        return first
    return Places(np.concatenate([first.boxes, second.boxes]), np.concatenate([first.labels, second.labels]))
