"""Detections in the forms of other tools: supervision's ``Detections``, and COCO's list of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import JetlaneError

if TYPE_CHECKING:
    import supervision


def to_supervision(detections: Detections, width: int, height: int) -> supervision.Detections:
    """As ``supervision.Detections``: ``xyxy`` float32 [N, 4] in pixels, ``class_id`` int [N] (the label map's ids, 1
    for the first class), ``confidence`` float32 [N].

    Args:
        width, height: Of the image, in pixels.

    Raises:
        JetlaneError: supervision is not installed.
    """
    try:
        import supervision
    except ImportError:
        raise JetlaneError(
            "supervision is not installed", "it is no dependency of jetlane", "pip install supervision"
        ) from None
    return supervision.Detections(
        xyxy=detections.boxes * _sides(width, height),
        class_id=detections.labels.astype(int),
        confidence=detections.scores.copy(),
    )


def from_supervision(detections: supervision.Detections, width: int, height: int) -> Detections:
    """Of a ``supervision.Detections`` of an image of this size in pixels.

    Raises:
        JetlaneError: It has no ``class_id`` or no ``confidence``.
    """
    if detections.class_id is None or detections.confidence is None:
        raise JetlaneError(
            "these supervision.Detections have no class_id or no confidence",
            "a detection has a label and a score",
            "set both: zeros and ones where they are not known",
        )
    boxes = np.asarray(detections.xyxy, np.float32) / _sides(width, height)
    return Detections(boxes, detections.class_id, detections.confidence)


def to_coco(detections: Detections, image_id: Union[int, str], width: int, height: int) -> list[dict[str, Any]]:
    """Entries of a COCO results file: ``image_id``, ``category_id`` (the label), ``bbox`` x, y, width, height in
    pixels, ``score``; best first.
    """
    boxes = detections.boxes.astype(np.float64) * _sides(width, height)
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {"image_id": image_id, "category_id": int(label), "bbox": box, "score": float(score)}
        for box, label, score in zip(boxes.tolist(), detections.labels, detections.scores)
    ]


def from_coco(entries: Sequence[Mapping[str, Any]], width: int, height: int) -> Detections:
    """Of the entries of one image in a COCO results file; an annotation, which has no ``score``, counts as 1.

    Raises:
        JetlaneError: The entries are of several images, or lack ``category_id`` or ``bbox``.
    """
    if len({entry.get("image_id") for entry in entries}) > 1:
        raise JetlaneError("these COCO entries are of several images", "", "give those of one image at a time")
    try:
        boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
        labels = [entry["category_id"] for entry in entries]
    except (KeyError, ValueError) as error:
        why = f"{type(error).__name__}: {error}"
        raise JetlaneError("a COCO entry is not whole", why, "each has category_id and bbox (4 numbers)") from None
    boxes[:, 2:] += boxes[:, :2]
    return Detections(boxes / _sides(width, height), labels, [entry.get("score", 1.0) for entry in entries])


def _sides(width: int, height: int) -> np.ndarray[Any, Any]:
    return np.array([width, height, width, height], np.float32)
