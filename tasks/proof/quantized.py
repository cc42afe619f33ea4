"""Does the quantised model still find what the same model finds in fp32, as a board's verification will ask?

onnxruntime computes in float32 between the quantisers here, as it stands in the model. Its fused int8 kernels would
saturate on processors without VNNI; TensorRT's do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.nms import suppress
from jetlane.remote.agent.detect.verdict import judge
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.near_ties import near_ties
from jetlane.tasks.proof.onnx_detector import detections_of, heads_of
from jetlane.tasks.proof.sample_images import Images

if TYPE_CHECKING:
    from jetlane.tasks.bundle.release import Tolerance


def compare_quantized(
    model: bytes, quantized: bytes, params: PluginParams, seen: Images, threshold: float, tolerance: Tolerance
) -> Mapping[str, Any]:
    """What ``verify`` would say on a board whose engine computed as the quantised model does.

    Args:
        model, quantized: ``model.trt.onnx``, and with quantisers.
        seen: Images, and what they show where that is known.

    Returns:
        What ``verdict.judge`` gives, without each sample's own agreement.

    Raises:
        PreflightError: onnxruntime is missing, or cannot load one of them.
    """
    whole, coarse = heads_of(model, params), heads_of(quantized, params, optimized=False)
    rows = []
    for image, truth in zip_longest(seen.arrays, seen.truth):  # of all images, or of none
        boxes, scores, content = whole(image)
        expected = suppress(boxes, scores, asdict(params.nms))
        rows.append(
            {
                "file": "",
                "expected": Detections.from_nms(*expected, content),
                "found": detections_of(coarse, params, image),
                "truth": truth.to_json() if truth is not None else None,
                "near_ties": near_ties(boxes, scores, params.nms, threshold, content),
            }
        )
    report = judge(rows, tolerance.to_json(), threshold)
    return {name: value for name, value in report.items() if name != "samples"}
