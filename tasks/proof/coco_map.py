"""Mean average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.errors import PreflightError
from jetlane.tasks.odapi.child.coco_detail import detail

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class GroundTruth:
    """What an image really shows.

    Attributes:
        boxes: float32 [N, 4]: xmin, ymin, xmax, ymax in 0..1 of the image.
        labels: int32 [N], ids of the label map.
        size: (height, width) of the image, pixels.
        crowd: bool [N]: boxes around groups, which neither count nor harm; None for none.
        difficult: bool [N]: objects that Pascal VOC does not count; None for none. COCO knows no such mark.
    """

    boxes: Array
    labels: Array
    size: tuple[int, int]
    crowd: Optional[Array] = None
    difficult: Optional[Array] = None

    def to_json(self) -> dict[str, Any]:
        """As a board reads it: see ``jetlane.remote.agent.detect.average_precision``."""
        crowd = np.zeros(len(self.labels), bool) if self.crowd is None else self.crowd
        columns = {"boxes": self.boxes, "labels": self.labels, "crowd": crowd, "size": np.array(self.size)}
        return {name: np.asarray(column).tolist() for name, column in columns.items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GroundTruth:
        height, width = data["size"]
        boxes = np.array(data["boxes"], np.float32).reshape(-1, 4)
        return cls(boxes, np.array(data["labels"], np.int32), (height, width), np.array(data["crowd"], bool))


def mean_average_precision(
    truth: Sequence[GroundTruth],
    found: Sequence[Detections],
    names: Mapping[int, str],
    confusion_score: Optional[float] = None,
) -> dict[str, Any]:
    """COCO's average precision, 100 detections an image at most.

    Args:
        names: Label map id -> name.
        confusion_score: Also count what is taken for what, among detections of at least this score.

    Returns:
        ``mAP`` (IoU 0.5 to 0.95), ``mAP@0.5``, and ``per_class`` ({name: {"AP", "AP@0.5"}}). None stands where there is
        no ground truth. With ``confusion_score`` also ``curves`` and ``confusion``: see ``coco_detail``.

    Raises:
        PreflightError: pycocotools is not installed.
    """
    evaluation = evaluated(truth, found, names)
    found_on_average = on_average(evaluation, names)
    if confusion_score is None:
        return found_on_average
    return {**found_on_average, **detail(evaluation, dict(names), confusion_score)}


def on_average(evaluation: Any, names: Mapping[int, str]) -> dict[str, Any]:
    """``mAP``, ``mAP@0.5`` and ``per_class`` of a ``COCOeval``; see ``mean_average_precision``."""
    precision = evaluation.eval["precision"][..., 0, -1]  # [IoU thresholds, recalls, classes]: any size, 100 detections
    per_class = {
        names[number]: {"AP": _mean(precision[..., index]), "AP@0.5": _mean(precision[0, :, index])}
        for index, number in enumerate(evaluation.params.catIds)
    }
    return {"mAP": _mean(precision), "mAP@0.5": _mean(precision[0]), "per_class": per_class}


def evaluated(truth: Sequence[GroundTruth], found: Sequence[Detections], names: Mapping[int, str]) -> Any:
    """The ``COCOeval`` of it, after ``accumulate``.

    Raises:
        PreflightError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise PreflightError("pycocotools is not installed", str(error), "pip install 'jetlane[train]'") from None
    with contextlib.redirect_stdout(io.StringIO()):  # it reports on stdout
        reference = COCO()
        reference.dataset = _dataset(truth, names)
        reference.createIndex()
        evaluation = COCOeval(reference, _results(COCO, reference, truth, found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def _dataset(truth: Sequence[GroundTruth], names: Mapping[int, str]) -> dict[str, Any]:
    images = [{"id": index, "height": one.size[0], "width": one.size[1]} for index, one in enumerate(truth)]
    annotations: list[dict[str, Any]] = []
    for index, one in enumerate(truth):
        crowd = np.zeros(len(one.labels), bool) if one.crowd is None else one.crowd
        for box, label, group in zip(_pixels(one.boxes, one.size), one.labels, crowd):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index,
                    "category_id": int(label),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(group),
                }
            )
    categories = [{"id": number, "name": name} for number, name in names.items()]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def _results(coco: Any, reference: Any, truth: Sequence[GroundTruth], found: Sequence[Detections]) -> Any:
    rows = [
        {"image_id": index, "category_id": int(label), "bbox": box, "score": float(score)}
        for index, (one, detections) in enumerate(zip(truth, found))
        for box, label, score in zip(_pixels(detections.boxes, one.size), detections.labels, detections.scores)
    ]
    if rows:
        return reference.loadRes(rows)
    empty = coco()
    empty.dataset = {**reference.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _pixels(boxes: Array, size: tuple[int, int]) -> list[list[float]]:
    """x, y, width, height in pixels."""
    height, width = size
    absolute = np.asarray(boxes, np.float64).reshape(-1, 4) * [width, height, width, height]
    rows: list[list[float]] = np.column_stack([absolute[:, :2], absolute[:, 2:] - absolute[:, :2]]).tolist()
    return rows


def _mean(precision: Array) -> Optional[float]:
    known = precision[precision > -1]  # -1: no ground truth
    return float(known.mean()) if known.size else None
