"""Would more candidates per class find more? NMS_TRT looks at the topK best before it suppresses, TensorFlow at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.converter.ssd.options import larger_top_k
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.agreement import Agreement, compare
from jetlane.tasks.proof.onnx_detector import OnnxDetector

#: topK -> the evaluation model with it.
WithTopK = Callable[[int], bytes]


@dataclass(frozen=True)
class TopK:
    """What a larger topK would change, above the deployment threshold.

    Attributes:
        used, tried: The model's own, and the larger one.
        gained, lost: Detections that come and go with it, over all images.
        needed: The least topK with which every detection is there that TensorFlow and the larger one have, and the
            model's own loses; None where it loses none.
    """

    used: int
    tried: int
    gained: int
    lost: int
    needed: Optional[int] = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def try_larger(
    with_top_k: WithTopK,
    params: PluginParams,
    images: Sequence[np.ndarray[Any, Any]],
    tensorflow: Sequence[Detections],
    agreement: Agreement,
    found: Sequence[Detections],
) -> Optional[TopK]:
    """Run the evaluation model with more candidates.

    Args:
        agreement: Agreement of TensorFlow's detections and the model's own, ``found``.
    """
    used, tried = params.nms.top_k, larger_top_k(params)
    if tried is None:
        return None

    def detect(top_k: int) -> list[Detections]:
        detector = OnnxDetector(with_top_k(top_k), params.input)
        return [detector.detect(image) for image in images]

    limits = (agreement.threshold, agreement.min_iou, agreement.max_score_difference)
    more = detect(tried)
    change = compare(found, more, *limits)
    result = TopK(used, tried, change.surplus, change.missing)
    least = compare(tensorflow, more, *limits).missing
    if least >= agreement.missing:
        return result
    top_k = used
    while compare(tensorflow, detect(top_k), *limits).missing > least:
        top_k = min(2 * top_k, tried)
    return TopK(used, tried, change.surplus, change.missing, top_k)
