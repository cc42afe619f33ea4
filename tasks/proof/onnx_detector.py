"""Runs lowered models in onnxruntime as a board would: original image in, detections or the heads' output out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.remote.agent.detect.image import to_input
from jetlane.remote.agent.detect.nms import suppress
from jetlane.specs.errors import PreflightError
from jetlane.tasks.converter.ssd.params import InputSpec, PluginParams

Array = np.ndarray[Any, Any]
#: uint8 [H, W, 3] RGB of any size -> (boxes, scores, content); see ``heads_of``.
Heads = Callable[[Array], tuple[Array, Array, tuple[float, float]]]


class OnnxDetector:
    """A lowered model on the CPU.

    Attributes:
        largest_logit: The largest of all class logits seen so far; -inf where the model has no sigmoid.
    """

    def __init__(self, model: bytes, image: InputSpec) -> None:
        """
        Args:
            model: An ONNX file that ends at NMS.
            image: What the model was made with.

        Raises:
            PreflightError: onnxruntime is missing or cannot load the model.
        """
        try:
            with_logits, self._logits = _watched(model)
        except Exception as error:  # protobuf's types differ from version to version
            raise PreflightError("onnxruntime cannot load the converted model", str(error), "convert again") from None
        self._session = _session(with_logits)
        self._spec = asdict(image)
        self._name = image.name
        self.largest_logit = float("-inf")

    def detect(self, image: Array) -> Detections:
        """Detections in an image, uint8 [H, W, 3] RGB of any size."""
        pixels, content = to_input(image, self._spec)
        rows, count, *logits = self._session.run(["NMS", "NMS_1", *self._logits], {self._name: pixels[None]})
        for values in logits:
            self.largest_logit = max(self.largest_logit, float(values.max()))
        return Detections.from_nms(rows[0, 0], int(count.item()), content)


def heads_of(model: bytes, params: PluginParams, optimized: bool = True) -> Heads:
    """What a model's heads give for an image: boxes [priors, 4], scores [priors, classes], and the frame's content.

    Args:
        model: ``model.trt.onnx``, or its fp16 or quantised form.
        optimized: Whether onnxruntime may fuse operations.

    Raises:
        PreflightError: onnxruntime is missing or cannot load the model.
    """
    session, spec = _session(model, optimized), asdict(params.input)

    def heads(image: Array) -> tuple[Array, Array, tuple[float, float]]:
        pixels, content = to_input(image, spec)
        boxes, scores = session.run(["boxes", "scores"], {params.input.name: pixels[None]})
        return boxes[0], scores[0], content

    return heads


def detections_of(heads: Heads, params: PluginParams, image: Array) -> Detections:
    """Detections in an image; NMS as boards with TensorRT 10 and later do it."""
    boxes, scores, content = heads(image)
    return Detections.from_nms(*suppress(boxes, scores, asdict(params.nms)), content)


def _session(model: bytes, optimized: bool = True) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise PreflightError("onnxruntime is not installed", str(error), "pip install 'jetlane[flow]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # protobuf's and onnxruntime's types share no base
        raise PreflightError("onnxruntime cannot load the converted model", str(error), "convert again") from None


def _watched(model: bytes) -> tuple[bytes, list[str]]:
    """The model with its class logits as a further output: (model, names of the added outputs)."""
    import onnx

    proto = onnx.ModelProto.FromString(model)
    names = [node.input[0] for node in proto.graph.node if node.name == "probabilities"]
    for name in names:
        proto.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return proto.SerializeToString(), names
