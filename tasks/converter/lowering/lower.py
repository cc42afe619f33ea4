"""UFF -> ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.lowering import nms
from jetlane.tasks.converter.lowering.context import Context, Rule
from jetlane.tasks.converter.lowering.ops import convolution, elementwise, plugins, pool, upsampling
from jetlane.tasks.converter.lowering.ops import shapes as shape_ops
from jetlane.tasks.converter.lowering.tensor import Tensor
from jetlane.tasks.converter.ssd.params import InputSpec, Nms, PluginParams
from jetlane.tasks.converter.uff.model import Uff, UffNode
from jetlane.tasks.converter.uff.parser_faults import refuse_misread

_RULES: dict[str, Rule] = {
    **convolution.RULES,
    **elementwise.RULES,
    **plugins.RULES,
    **pool.RULES,
    **shape_ops.RULES,
    **upsampling.RULES,
}


def lower(
    uff: Uff,
    params: PluginParams,
    ends: str = "nms",
    confidence_threshold: Optional[float] = None,
    top_k: Optional[int] = None,
) -> Any:
    """An SSD's UFF graph as ONNX, for one image.

    Args:
        uff: Ending at one NMS_TRT; weights, anchors and settings are taken from it.
        params: What it was made with; names the input, and says what the plugin has no field for.
        ends: ``nms`` for detections as NMS_TRT gives them (``NMS`` float32 [1, 1, keepTopK, 7], ``NMS_1`` int32
            [1, 1, 1, 1]); ``heads`` for ``boxes`` [1, priors, 4] and ``scores`` [1, priors, classes].
        confidence_threshold, top_k: In place of the plugin's own.

    Returns:
        An ``onnx.ModelProto`` with the input ``Input``, float32 [1, 3, height, width].

    Raises:
        ConversionError: An operation or a setting that has no lowering, or that a board's UFF parser refuses or reads
            otherwise than TensorFlow means it; by its node.
    """
    if ends not in ("nms", "heads"):
        raise ValueError(f"ends is {ends!r}, not 'nms' or 'heads'")
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        try:
            return _lowered(uff, params, ends, confidence_threshold, top_k)
        except FloatingPointError as error:
            raise ConversionError(
                "the UFF graph's numbers leave what float32 holds", str(error), "convert the frozen graph again"
            ) from error


def _lowered(
    uff: Uff, params: PluginParams, ends: str, confidence_threshold: Optional[float], top_k: Optional[int]
) -> Any:
    context = Context(uff)
    (node,) = _nms_nodes(uff)
    settings = replace(plugins.nms_of(node), clip_before=params.nms.clip_before)
    if confidence_threshold is not None:
        settings = replace(settings, confidence_threshold=confidence_threshold)
    if top_k is not None:
        settings = replace(settings, top_k=top_k)
    loc, conf, priors = _nms_inputs(context, node, settings, params)
    # The rules follow TensorFlow; where a board's parser does not, the file has no ONNX form.
    refuse_misread(uff.nodes, {name: value.shape for name, value in context.values.items()})
    image = params.input
    inputs = {image.name: (np.float32, (1, 3, image.height, image.width))}
    count, classes = len(priors.boxes), settings.num_classes
    if ends == "heads":
        nms.boxes_and_scores(context.builder, loc, conf, priors, ("boxes", "scores"))
        outputs: dict[str, tuple[Any, tuple[int, ...]]] = {
            "boxes": (np.float32, (1, count, 4)),
            "scores": (np.float32, (1, count, classes)),
        }
    else:
        nms.detections(context.builder, loc, conf, priors, settings, ("NMS", "NMS_1"))
        outputs = {"NMS": (np.float32, (1, 1, settings.keep_top_k, 7)), "NMS_1": (np.int32, (1, 1, 1, 1))}
    return context.builder.model("ssd", inputs, outputs)


def lower_outputs(uff: Uff, image: InputSpec, outputs: Sequence[str]) -> Any:
    """Any part of a UFF graph before NMS_TRT as ONNX, for one image.

    Args:
        image: The input's name and size; it is float32 [1, 3, height, width].
        outputs: Ids of nodes; outputs of the same names, float32 in TensorFlow's order.

    Returns:
        An ``onnx.ModelProto``.

    Raises:
        ConversionError: As ``lower``.
    """
    context = Context(uff)
    found = {name: _value(context, name, image) for name in outputs}
    refuse_misread(uff.nodes, {name: value.shape for name, value in context.values.items()})
    builder = context.builder
    for name, value in found.items():
        builder.op("Identity", value.last(builder), output=name)
    inputs = {image.name: (np.float32, (1, 3, image.height, image.width))}
    return builder.model("part", inputs, {name: (np.float32, value.shape) for name, value in found.items()})


def shapes(uff: Uff, params: PluginParams) -> dict[str, tuple[int, ...]]:
    """Static shapes of the nodes before NMS_TRT, by id, in TensorFlow's order.

    Raises:
        ConversionError: As ``lower``.
    """
    context = Context(uff)
    (node,) = _nms_nodes(uff)
    _nms_inputs(context, node, plugins.nms_of(node), params)
    return {name: value.shape for name, value in context.values.items()}


def _nms_nodes(uff: Uff) -> list[UffNode]:
    found = [node for node in uff.nodes if node.operation == "_NMS_TRT"]
    if len(found) != 1:
        raise ConversionError(f"the UFF graph has {len(found)} NMS_TRT nodes", "an SSD ends at one", "convert an SSD")
    return found


def _nms_inputs(context: Context, node: UffNode, settings: Nms, params: PluginParams) -> tuple[str, str, nms.Priors]:
    """Box codes [P, 4], scores [P, C], priors; the assertions of the plugin are checked."""
    if len(node.inputs) != 3:
        raise ConversionError(f"NMS_TRT {node.id!r} has {len(node.inputs)} inputs", "it takes loc, conf and prior")
    loc, conf, prior = (_value(context, node.inputs[index], params.input) for index in settings.input_order)
    if prior.array is None:
        raise ConversionError(
            f"the priors of NMS_TRT {node.id!r} are no constant", "GridAnchor_TRT or a Const makes them"
        )
    if prior.array.dtype.kind != "f" or prior.array.size == 0 or prior.array.size % 8:
        raise ConversionError(f"the priors of NMS_TRT {node.id!r} are {prior.array.size} numbers", "8 make a prior")
    boxes, variances = np.asarray(prior.array, np.float32).reshape(2, -1, 4)
    nms.check(settings, len(boxes))
    count, builder = len(boxes), context.builder
    scores = conf.reshaped(builder, (count, settings.num_classes)).last(builder)
    if settings.conf_sigmoid:
        scores = builder.op("Sigmoid", scores, name="probabilities")
    return loc.reshaped(builder, (count, 4)).last(builder), scores, nms.Priors(boxes, variances)


def _value(context: Context, name: str, image: InputSpec) -> Tensor:
    """The value of a node, after those it depends on (no recursion: graphs are deep)."""
    done: dict[str, Tensor] = context.values
    todo = [name]
    while todo:
        current = todo[-1]
        if current in done:
            todo.pop()
            continue
        node = context.nodes.get(current)
        if node is None:
            raise ConversionError(f"the UFF graph reads {current!r}, which it does not hold", "the file is damaged")
        waiting = [source for source in node.inputs if source not in done]
        if waiting:
            if len(todo) > len(context.nodes):
                raise ConversionError(f"the UFF graph has a cycle at {current!r}", "the file is damaged")
            todo.extend(waiting[:1])
            continue
        done[current] = _apply(context, node, [done[source] for source in node.inputs], image)
        todo.pop()
    return done[name]


def _apply(context: Context, node: UffNode, inputs: list[Tensor], image: InputSpec) -> Tensor:
    if node.operation == "Input":
        # Declared NCHW, while every operation reads it as NHWC.
        return Tensor((1, image.height, image.width, 3), first=image.name)
    rule = _RULES.get(node.operation)
    if rule is None:
        raise ConversionError(
            f"the UFF operation {node.operation!r} of {node.id!r} has no lowering to ONNX",
            "it is none of an SSD's",
            "report the model's architecture",
        )
    try:
        return rule(context, node, inputs)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Fields or shapes that no converter writes: rules read them as they are.
        raise ConversionError(
            f"the UFF node {node.id!r} ({node.operation}) is malformed", str(error), "convert the frozen graph again"
        ) from error
