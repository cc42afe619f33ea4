"""Detections, wherever they are: boxes as fractions of the original image, labels, scores, best first."""

from typing import Any, Dict, Iterator, NamedTuple, Sequence, Tuple

import numpy as np

from .arrays import Array

#: One of the detections of an image: box float32 [4] as xmin, ymin, xmax, ymax; label; score.
Detection = NamedTuple("Detection", [("box", Array), ("label", int), ("score", float)])


class Detections(object):
    """What was found in one image, sorted by descending score. Iteration gives one ``Detection`` after the other.

    Attributes:
        boxes: float32 [N, 4]: xmin, ymin, xmax, ymax in 0..1 of the original image.
        labels: int32 [N]: the label map's ids (1 for the first class).
        scores: float32 [N].
    """

    def __init__(self, boxes: Any, labels: Any, scores: Any) -> None:
        boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        labels = np.asarray(labels, np.int32).reshape(-1)
        scores = np.asarray(scores, np.float32).reshape(-1)
        if not len(boxes) == len(labels) == len(scores):
            raise ValueError("%d boxes, %d labels, %d scores" % (len(boxes), len(labels), len(scores)))
        order = np.argsort(-scores, kind="mergesort")
        self.boxes, self.labels, self.scores = boxes[order], labels[order], scores[order]

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for box, label, score in zip(self.boxes, self.labels, self.scores):
            yield Detection(box, int(label), float(score))

    def __eq__(self, other: object) -> bool:
        """Whether all boxes, labels and scores are the same to the last bit, in the same order."""
        if not isinstance(other, Detections):
            return NotImplemented
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ("boxes", "labels", "scores"))

    #: The arrays may be changed.
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Detections(%d)" % len(self)

    def above(self, threshold: float) -> "Detections":
        """Those with a score of at least ``threshold``."""
        keep = self.scores >= np.float32(threshold)
        return Detections(self.boxes[keep], self.labels[keep], self.scores[keep])

    def to_json(self) -> Dict[str, Any]:
        """Plain lists; a float32 comes back from it unchanged."""
        return {"boxes": self.boxes.tolist(), "labels": self.labels.tolist(), "scores": self.scores.tolist()}

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Detections":
        return cls(data["boxes"], data["labels"], data["scores"])

    @classmethod
    def from_nms(cls, rows: Array, count: int, content: Sequence[float] = (1.0, 1.0)) -> "Detections":
        """Read one image's rows of NMS_TRT (facts in the plugin's README: rows past the count are stale).

        Args:
            rows: [keepTopK, 7]: image id, label, score, xmin, ymin, xmax, ymax in the network's frame.
            count: How many rows are valid.
            content: The fractions of the frame that the image fills, as ``to_input`` gives them.
        """
        valid = np.asarray(rows, np.float32).reshape(-1, 7)[: max(int(count), 0)]
        valid = valid[valid[:, 1] >= 0]
        fractions = np.array([content[0], content[1], content[0], content[1]], np.float32)
        boxes = np.clip(valid[:, 3:7] / fractions, 0.0, 1.0) if tuple(content) != (1.0, 1.0) else valid[:, 3:7]
        # TensorFlow drops what has no area once it is clipped to the image; the plugin keeps it.
        seen = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        # half precision may overflow: what has no finite score or place was not found
        seen &= np.isfinite(valid[:, 2]) & np.isfinite(boxes).all(axis=1)
        return cls(boxes[seen], valid[seen, 1].astype(np.int32), valid[seen, 2])


def iou_matrix(first: Array, second: Array) -> Array:
    """Intersection over union of every box of one set with every box of another: float64 [N, M]; empty boxes give 0."""
    a = np.asarray(first, np.float64).reshape(-1, 1, 4)
    b = np.asarray(second, np.float64).reshape(1, -1, 4)
    sides = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0.0, None)
    overlap = sides[..., 0] * sides[..., 1]
    union = _area(a) + _area(b) - overlap
    return np.where(union > 0, overlap / np.where(union > 0, union, 1.0), 0.0)


def _area(boxes: Array) -> Array:
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0.0, None)
    area: Array = sides[..., 0] * sides[..., 1]
    return area


def output_count(raw: Array) -> Tuple[int, ...]:
    """The keepCount of each image: NMS_TRT declares it float, yet its four bytes are an int32."""
    raw = np.ascontiguousarray(raw)
    if raw.dtype == np.float32:
        raw = raw.view(np.int32)
    return tuple(int(value) for value in raw.reshape(-1))
