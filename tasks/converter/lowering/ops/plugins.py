"""GridAnchor_TRT and FlattenConcat_TRT; NMS_TRT ends the graph and is lowered in ``nms``."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering.context import Context, Rule
from jetlane.tasks.converter.lowering.tensor import Tensor
from jetlane.tasks.converter.ssd.params import GridAnchor, Nms
from jetlane.tasks.converter.ssd.plugins import grid_anchor
from jetlane.tasks.converter.uff.model import UffNode

#: Types of NMS_TRT's fields.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("numClasses", "topK", "keepTopK", "backgroundLabelId", "codeType"), (int,)),
    **dict.fromkeys(("nmsThreshold", "confidenceThreshold"), (int, float)),
}


def plugin_fields(node: UffNode) -> dict[str, Any]:
    """A plugin's fields by the names its creator knows: ``numClasses_u_int`` -> ``numClasses``."""
    return {key.partition("_u_")[0]: value for key, value in node.fields.items()}


def nms_of(node: UffNode) -> Nms:
    """The settings of an NMS_TRT node.

    Raises:
        ConversionError: A field is no number, or missing; the plugin would then take whatever its last user left.
    """
    fields = plugin_fields(node)
    for name in (name for name, kinds in _KINDS.items() if name in fields):
        if not isinstance(fields[name], _KINDS[name]):
            raise ConversionError(f"{name} of NMS_TRT {node.id!r} is {fields[name]!r}", "it has to be a number")
    order = fields.get("inputOrder", Nms.input_order)
    if not isinstance(order, (list, tuple)) or sorted(map(str, order)) != ["0", "1", "2"]:
        raise ConversionError(f"inputOrder of NMS_TRT {node.id!r} is {order}", "it orders the three inputs")
    try:
        return Nms(
            num_classes=fields["numClasses"],
            top_k=fields["topK"],
            keep_top_k=fields["keepTopK"],
            nms_threshold=fields["nmsThreshold"],
            confidence_threshold=fields["confidenceThreshold"],
            conf_sigmoid=bool(fields["confSigmoid"]),
            background_label_id=fields["backgroundLabelId"],
            share_location=bool(fields["shareLocation"]),
            variance_encoded_in_target=bool(fields["varianceEncodedInTarget"]),
            is_normalized=bool(fields["isNormalized"]),
            code_type=fields.get("codeType", Nms.code_type),
            input_order=(int(order[0]), int(order[1]), int(order[2])),
        )
    except KeyError as error:
        raise ConversionError(
            f"NMS_TRT {node.id!r} lacks the field {error.args[0]!r}", "the UFF file is incomplete"
        ) from None


def _grid_anchor(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    """Priors of all layers, joined: [1, 2, priors * 4, 1]. They follow from the fields alone."""
    fields = plugin_fields(node)
    shapes = [int(side) for side in fields["featureMapShapes"]]
    rectangular = node.operation == "_GridAnchorRect_TRT"
    pairs = tuple(zip(shapes[::2], shapes[1::2])) if rectangular else tuple((side, side) for side in shapes)
    x, y, w, h = (float(number) for number in fields["variance"])
    context.afford(node, (8 * sum(rows * columns for rows, columns in pairs), len(fields["aspectRatios"]) + 1))
    params = GridAnchor(
        fields["numLayers"], fields["minSize"], fields["maxSize"], tuple(fields["aspectRatios"]), pairs, (x, y, w, h)
    )
    return Tensor.constant(np.concatenate(grid_anchor(params), axis=1)[None])


def _flatten_concat(context: Context, node: UffNode, inputs: list[Tensor]) -> Tensor:
    fields = plugin_fields(node)
    if (fields.get("axis", 1), fields.get("ignoreBatch", 0)) != (1, 0):
        raise ConversionError(f"FlattenConcat_TRT {node.id!r} has axis {fields.get('axis')}", "only axis 1 is sound")
    builder = context.builder
    flat = [value.reshaped(builder, (1, prod(value.shape[1:]))) for value in inputs]
    name = builder.op("Concat", *(value.last(builder) for value in flat), axis=1)
    total = sum(value.shape[1] for value in flat)
    return Tensor((1, total, 1, 1), last=name, last_shape=(1, total))


RULES: dict[str, Rule] = {
    "_GridAnchor_TRT": _grid_anchor,
    "_GridAnchorRect_TRT": _grid_anchor,
    "_FlattenConcat_TRT": _flatten_concat,
}
