"""Does the model in half precision still find what the same model finds in fp32?

onnxruntime computes on the CPU in fp32 wherever it has no fp16 kernel, rounding at every cast. This shows that weights
and values fit into fp16 and that the model is well made, not how a GPU adds up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.converter.ssd.params import PluginParams
from jetlane.tasks.proof.agreement import Agreement, compare
from jetlane.tasks.proof.onnx_detector import detections_of, heads_of


def compare_half(
    model: bytes,
    half: bytes,
    params: PluginParams,
    images: Sequence[np.ndarray[Any, Any]],
    threshold: float,
    min_iou: float,
    max_score_difference: float,
) -> Agreement:
    """Detections of both, above ``threshold``, matched one to one; NMS as boards with TensorRT 10 and later do it.

    Args:
        model, half: ``model.trt.onnx`` and its fp16 form.
        images: uint8 [H, W, 3] RGB, original size.

    Raises:
        PreflightError: onnxruntime is missing, or cannot load one of them.
    """
    expected, found = _detect(model, params, images), _detect(half, params, images)
    return compare(expected, found, threshold, min_iou, max_score_difference)


def _detect(model: bytes, params: PluginParams, images: Sequence[np.ndarray[Any, Any]]) -> list[Detections]:
    heads = heads_of(model, params)
    return [detections_of(heads, params, image) for image in images]
