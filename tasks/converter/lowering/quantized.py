"""The same network computing in int8, for TensorRT 8 and later: the quantisers stand in the model.

TensorRT then computes in int8 between them and nowhere else, and needs no calibration on the board. Left to itself it
also puts the decoding of boxes into int8, of which a box coordinate has 127 steps: an engine that 8.6.1 had calibrated
so, at its default optimization level, found a quarter of what it should. From TensorRT 11 on there is no other way.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.last_convolutions import feeding

_QUANTISED = "Conv"
#: What onnxruntime offers and TensorRT asks for: zero is zero, weights have a scale for each channel and stay float32
#: before their quantiser, biases stay float32 (NVIDIA's developer guide, "Explicit Quantization").
_FOR_TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    # Only before convolutions: TensorRT fuses an activation into the convolution before it, and quantises after both.
    "OpTypesToExcludeOutputQuantization": [_QUANTISED],
}


def to_int8(
    model: Any, images: Iterable[np.ndarray[Any, Any]], seen: Callable[[int], None] = lambda number: None
) -> Any:
    """A copy of a model that ends at boxes and scores, with quantisers before its convolutions.

    The last convolutions stay as they are: nothing after them would even out what their codes lose.

    Args:
        model: ``onnx.ModelProto`` with float32 inputs, outputs and weights, as ``lower`` makes it.
        images: float32 [3, H, W] each, as the network is fed: the scales are those of the largest values that any of
            them gives.
        seen: Called with how many images were looked at.

    Raises:
        ConversionError: There is nothing to quantise, or onnxruntime cannot.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quant_utils, quantize_static

    inside = feeding(model.graph.node)
    last = [node.name for node, feeds in zip(model.graph.node, inside) if not feeds]
    if not any(feeds and node.op_type == _QUANTISED for node, feeds in zip(model.graph.node, inside)):
        raise ConversionError("there is nothing to quantise", "no convolution feeds another", "build with fp16")
    with tempfile.TemporaryDirectory(prefix="jetlane-int8-") as scratch:
        given, out = Path(scratch, "given.onnx"), Path(scratch, "made.onnx")
        with_shapes = onnx.shape_inference.infer_shapes(model)
        quant_utils.add_pre_process_metadata(with_shapes)  # else it warns that shapes could be missing
        onnx.save(with_shapes, str(given))
        try:
            quantize_static(
                given,
                out,
                _reader(model.graph.input[0].name, images, seen),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=[_QUANTISED],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=last,
                extra_options=dict(_FOR_TENSORRT),
            )
        except (ValueError, RuntimeError) as error:
            raise ConversionError("onnxruntime cannot quantise the model", str(error), "build with fp16") from error
        made = onnx.load(str(out))
    del made.metadata_props[:]
    made.producer_name = model.producer_name
    return made


def _reader(name: str, images: Iterable[np.ndarray[Any, Any]], seen: Callable[[int], None]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    def counted() -> Iterator[dict[str, np.ndarray[Any, Any]]]:
        for number, image in enumerate(images, 1):
            yield {name: image[None]}
            seen(number)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Images as onnxruntime asks for them, one at a time."""

        def __init__(self) -> None:
            self._left = counted()

        def get_next(self) -> Any:
            return next(self._left, None)

    return Reader()
