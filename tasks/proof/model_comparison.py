"""The converted model against the trained one, on the same images from the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.specs.defaults import EXACT
from jetlane.specs.errors import PreflightError
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.agreement import Agreement, compare
from jetlane.tasks.proof.coco_map import GroundTruth, mean_average_precision
from jetlane.tasks.proof.onnx_detector import OnnxDetector
from jetlane.tasks.proof.top_k import TopK, WithTopK, try_larger

#: exp overflows float32 above 88.72: NMS_TRT's score is NaN then, and the surest detections are dropped.
LARGEST_SOUND_LOGIT = 88.0


@dataclass(frozen=True)
class PreflightReport:
    """What was compared and how it came out.

    Attributes:
        agreement: Agreement of TensorFlow's detections (expected) and the converted model's (got).
        detections: The converted model's, per image, at the deployment threshold.
        largest_logit: The largest class logit met; -inf for scores that are no sigmoid.
        top_k: What a larger topK would change; None where it was not tried.
        map_tensorflow, map_onnx: See ``mean_average_precision``; None without ground truth.
        notes: Warnings for a person.
    """

    agreement: Agreement
    detections: tuple[Detections, ...]
    largest_logit: float
    map_tensorflow: Optional[dict[str, Any]] = None
    map_onnx: Optional[dict[str, Any]] = None
    top_k: Optional[TopK] = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "agreement": self.agreement.to_json(),
            "mAP": {"tensorflow": self.map_tensorflow, "onnx": self.map_onnx} if self.map_onnx else None,
            "top_k": self.top_k.to_json() if self.top_k else None,
            "largest_logit": self.largest_logit if np.isfinite(self.largest_logit) else None,
            "notes": list(self.notes),
        }


class Disagreement(PreflightError):
    """The converted model does not find what the trained one finds; ``report`` says how far apart they are."""

    def __init__(self, report: PreflightReport, names: Sequence[str] = ()) -> None:
        agreement = report.agreement
        shown = [names[index] if names else str(index) for index in agreement.disagreeing[:8]]
        images = ", ".join(shown) + (", ..." if len(agreement.disagreeing) > 8 else "")
        super().__init__(
            "the converted model does not find what the trained one finds",
            f"of {agreement.expected} detections above {agreement.threshold:g} in {agreement.images} images, "
            f"{agreement.missing} of TensorFlow's and {agreement.surplus} of the converted model's have no partner of "
            f"the same class with IoU >= {agreement.min_iou:g} and a score within {agreement.max_score_difference:g} "
            f"(images {images})",
            "nothing was shipped; report this with the frozen graph and its pipeline.config",
        )
        self.report = report


def preflight(
    model: bytes,
    evaluation_model: bytes,
    params: PluginParams,
    images: Sequence[np.ndarray[Any, Any]],
    tensorflow: Sequence[Detections],
    *,
    ground_truth: Optional[Sequence[GroundTruth]] = None,
    names: Optional[Mapping[int, str]] = None,
    threshold: Optional[float] = None,
    min_iou: float = EXACT.iou,
    max_score_difference: float = EXACT.score,
    with_top_k: Optional[WithTopK] = None,
    on_count: Callable[[int], None] = lambda done: None,
    image_names: Sequence[str] = (),
) -> PreflightReport:
    """Run the converted model and hold it against TensorFlow.

    Args:
        model: ``model.onnx``.
        evaluation_model: ``model.eval.onnx``, for mAP; run only where there is ground truth.
        images: uint8 [H, W, 3] RGB, original size.
        tensorflow: What the frozen graph found in each, all of it.
        ground_truth: Ground truth of each image; ``names`` then gives the label map's names.
        threshold: Detections of at least this score are compared; the deployment threshold if not given.
        with_top_k: Makes the evaluation model with another topK; to see what a larger one would change.
        on_count: Called with the number of images that the converted model has seen.
        image_names: What the user calls the images.

    Returns:
        A report of models that agree; or, where ``report.top_k.needed`` is set, of one that loses detections of
        TensorFlow's for want of candidates: it has to be made again with that topK.

    Raises:
        Disagreement: Detections that do not match.
        PreflightError: ``threshold`` is below the model's own; onnxruntime or pycocotools is missing; the model cannot
            be loaded.
    """
    own = params.nms.confidence_threshold
    threshold = own if threshold is None else threshold
    if threshold < own:
        raise PreflightError(
            f"detections cannot be compared above {threshold:g}",
            f"the converted model gives none below its own threshold, {own:g}",
            f"compare above {own:g} or more",
        )
    detector = OnnxDetector(model, params.input)
    found = tuple(_detected(detector, images, on_count))
    agreement = compare(tensorflow, found, threshold, min_iou, max_score_difference)
    maps: tuple[Optional[dict[str, Any]], Optional[dict[str, Any]]] = (None, None)
    if ground_truth:
        evaluation = OnnxDetector(evaluation_model, params.input)
        everything = [evaluation.detect(image) for image in images]
        maps = (
            mean_average_precision(ground_truth, tensorflow, names or {}, confusion_score=threshold),
            mean_average_precision(ground_truth, everything, names or {}),
        )
    top_k = try_larger(with_top_k, params, images, tensorflow, agreement, found) if with_top_k else None
    notes = _notes(agreement, detector.largest_logit, top_k)
    report = PreflightReport(agreement, found, detector.largest_logit, *maps, top_k, notes)
    if not agreement.agreed and (top_k is None or top_k.needed is None):
        raise Disagreement(report, image_names)
    return report


def _detected(
    detector: OnnxDetector, images: Sequence[np.ndarray[Any, Any]], on_count: Callable[[int], None]
) -> Iterator[Detections]:
    for number, image in enumerate(images):
        yield detector.detect(image)
        on_count(number + 1)


def _notes(agreement: Agreement, largest_logit: float, top_k: Optional[TopK]) -> tuple[str, ...]:
    notes = []
    if top_k is not None and top_k.needed is not None:
        notes.append(
            f"topK {top_k.used} loses detections above {agreement.threshold:g} that TensorFlow has; "
            f"{top_k.needed} keeps them"
        )
    elif top_k is not None and (top_k.gained or top_k.lost):
        notes.append(
            f"with topK {top_k.tried} instead of {top_k.used}, {top_k.gained} detections above {agreement.threshold:g} "
            f"would come and {top_k.lost} go; TensorFlow has none that {top_k.used} loses"
        )
    if largest_logit > LARGEST_SOUND_LOGIT:
        notes.append(
            f"a class logit reaches {largest_logit:.1f}: NMS_TRT drops detections whose logit is above 88.7 on boards "
            "that run it; train with more regularisation or fewer steps"
        )
    if not agreement.expected:
        notes.append(f"TensorFlow finds nothing above {agreement.threshold:g} in these images: nothing was compared")
    return tuple(notes)
