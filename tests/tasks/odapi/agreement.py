"""A converted model beside TensorFlow: raw boxes and scores, and detections one to one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests.tasks.converter.lowering.golden import far, rounding_of

from jetlane.remote.agent.detect.detections import Detections, iou_matrix
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.matching import match

#: Of raw boxes (fractions of the image) and scores.
TOLERANCE = 5e-5
#: Least overlap and largest score difference of a matched pair.
LIMITS = (0.9999, 5e-4)
#: A difference may also be so many times what one unit in the last place of weights and input makes.
ROUNDINGS = 10

Raw = tuple[np.ndarray, np.ndarray]


def raw_outputs(model: Path, images: list[np.ndarray], image_input: dict) -> list[Raw]:
    """(boxes, scores) of each image, as the lowered network gives them."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    feeds = [{"Input": to_input(image, image_input)[0][None]} for image in images]
    return [tuple(output[0] for output in session.run(["boxes", "scores"], feed)) for feed in feeds]


def beyond_rounding(found: Raw, expected: Raw, model: Path, pixels: np.ndarray, tolerance: float = TOLERANCE) -> str:
    """How raw outputs are apart by more than the tolerance, and by more than some networks make of rounding; else ''.

    Args:
        pixels: The network's input that they are of.
    """
    apart = [far(*sides) for sides in zip(found, expected)]
    if max(apart) < tolerance:
        return ""
    rounding = rounding_of(model, pixels)
    if all(one <= ROUNDINGS * other for one, other in zip(apart, rounding)):
        return ""
    return f"boxes and scores are {apart} apart, of which rounding may make {rounding}"


def hangs_on_rounding(left: Detections, right: Detections, raw: Raw, threshold: float, limit: float) -> bool:
    """Whether two lists part at a decision that rounding takes: an overlap at the suppression's limit, or equal scores.

    A network that was hardly trained finds the same in thousands of places, where such decisions come up. Everything
    after the first one follows from it.

    Args:
        raw: Boxes and scores before suppression.
        limit: Of the overlap.
    """
    boxes, scores = raw

    def anchor(detections: Detections, index: int) -> int:
        return int(np.abs(scores[:, detections.labels[index]] - detections.scores[index]).argmin())

    report = match(left, right, *LIMITS, threshold)
    alone = [(left, index, right) for index in report.missing] + [(right, index, left) for index in report.surplus]
    one, index, other = max(alone, key=lambda case: float(case[0].scores[case[1]]))
    lead = other.scores - one.scores[index]
    before = np.flatnonzero((other.labels == one.labels[index]) & (lead > -1e-5))
    overlaps = iou_matrix(boxes[[anchor(one, index)]], boxes[[anchor(other, rival) for rival in before]])[0]
    return bool(np.any((np.abs(overlaps - limit) < 1e-4) | ((overlaps > limit) & (lead[before] < 1e-5))))
