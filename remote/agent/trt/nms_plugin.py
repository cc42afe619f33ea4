"""The plugins that suppress inside an engine: NMS_TRT's outputs, and NMSDynamic_TRT behind a model that has no NMS.

A model of the ONNX backend ends at boxes and scores. The plugin decodes, too; it is shown the decoded boxes as offsets
(code type CORNER, variances within) from priors that are all zero, so that it decodes nothing. Its rules are those of
NMS_TRT, and of ``detect.nms``.
"""

from typing import Any, Dict, Tuple

import numpy as np

from ..detect.arrays import Array
from ..detect.detections import output_count
from . import common

PLUGIN, _VERSION = "NMSDynamic_TRT", "1"
#: The outputs, named as those of NMS_TRT in a UFF file.
ROWS, COUNT = "NMS", "NMS_1"
_CORNER = 0


def append(trt: Any, network: Any, nms: Dict[str, Any]) -> bool:
    """Put the plugin behind a network's outputs ``boxes`` [1, priors, 4] and ``scores`` [1, priors, classes].

    Args:
        network: With explicit batch, parsed.
        nms: The JSON form of the NMS parameters.

    Returns:
        Whether it is there; if not, the network is as it was, and its outputs are suppressed on the CPU.
    """
    creator = _creator(trt)
    if creator is None:
        return False
    outputs = {tensor.name: tensor for tensor in map(network.get_output, range(network.num_outputs))}
    if set(outputs) != {"boxes", "scores"}:
        return False
    _, priors, classes = tuple(outputs["scores"].shape)
    with common.outdated_calls():
        plugin = _make_plugin(trt, creator, nms, classes)
        boxes = _clipped(trt, network, outputs["boxes"]) if nms.get("clip_before") else outputs["boxes"]
        zeros = network.add_constant((1, 2, 4 * priors, 1), np.zeros((1, 2, 4 * priors, 1), np.float32))
        inputs = [
            _reshaped(network, boxes, (1, 4 * priors, 1, 1)),
            _reshaped(network, outputs["scores"], (1, classes * priors, 1, 1)),
            zeros.get_output(0),
        ]
        layer = network.add_plugin_v2(inputs, plugin)
    layer.name = ROWS
    for tensor in outputs.values():
        network.unmark_output(tensor)
    for index, name in enumerate((ROWS, COUNT)):
        tensor = layer.get_output(index)
        tensor.name = name
        network.mark_output(tensor)
    return True


def _creator(trt: Any) -> Any:
    """What makes the plugin; None where this TensorRT has none."""
    # from TensorRT 11 on there is no such list, and no plugin of this kind
    known = getattr(trt.get_plugin_registry(), "plugin_creator_list", ())
    return next((one for one in known if (one.name, one.plugin_version) == (PLUGIN, _VERSION)), None)


def _make_plugin(trt: Any, creator: Any, nms: Dict[str, Any], classes: int) -> Any:
    values = _parameters(nms, classes)  # the fields only point to them
    kinds = {"i": trt.PluginFieldType.INT32, "f": trt.PluginFieldType.FLOAT32}
    fields = [trt.PluginField(name, value, kinds[value.dtype.kind]) for name, value in values.items()]
    return creator.create_plugin(ROWS, trt.PluginFieldCollection(fields))


def _parameters(nms: Dict[str, Any], classes: int) -> Dict[str, Array]:
    whole = {
        "shareLocation": 1,
        "varianceEncodedInTarget": 1,
        "backgroundLabelId": nms["background_label_id"],
        "numClasses": classes,
        "topK": nms["top_k"],
        "keepTopK": nms["keep_top_k"],
        "inputOrder": [0, 1, 2],
        "confSigmoid": 0,
        "isNormalized": int(nms["is_normalized"]),
        "codeType": _CORNER,
    }
    found = {name: np.array(value, np.int32).reshape(-1) for name, value in whole.items()}
    found["confidenceThreshold"] = np.array([nms["confidence_threshold"]], np.float32)
    found["nmsThreshold"] = np.array([nms["nms_threshold"]], np.float32)
    return found


def _clipped(trt: Any, network: Any, boxes: Any) -> Any:
    """Within the image, as graphs of 2017 and early 2018 clip boxes before they suppress."""
    layer = network.add_activation(boxes, trt.ActivationType.CLIP)
    layer.alpha, layer.beta = 0.0, 1.0
    return layer.get_output(0)


def _reshaped(network: Any, tensor: Any, shape: Any) -> Any:
    layer = network.add_shuffle(tensor)
    layer.reshape_dims = shape
    return layer.get_output(0)


def read(outputs: Dict[str, Array]) -> Tuple[Array, int]:
    """Rows [keepTopK, 7] and how many are valid, from an engine's outputs. By name: their order is not fixed."""
    rows = outputs[ROWS].reshape(-1, 7)
    return rows, min(output_count(outputs[COUNT])[0], len(rows))
