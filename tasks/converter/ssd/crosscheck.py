"""The same numbers, read from pipeline.config and from the frozen graph alone, must agree.

What only the graph knows (the order of resizing and normalising, which changed over the years; whether its anchors are
exactly the plugin's) is taken over from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from jetlane.remote.agent.detect.image import resized_size
from jetlane.remote.agent.errors import AgentError
from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.ssd.anchor_fields import explain_difference
from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.derive import (
    ANCHOR_TOLERANCE,
    CONSTANT_NOTE,
    check_nms_arithmetic,
    distance_reason,
    reference_anchors,
)
from jetlane.tasks.converter.ssd.params import InputSpec, PluginParams

if TYPE_CHECKING:
    from jetlane.tasks.converter.graph.ssd import SsdGraph

#: (field below model.ssd, what it is called, in pipeline.config, in the graph)
Pair = tuple[str, str, Any, Any]


#: (pattern of feature_extractor.type, family of its network)
_FAMILIES = (
    (r"mobilenet_v1", "MobileNet v1"),
    (r"mobilenet_v2", "MobileNet v2"),
    (r"mobilenet_v3", "MobileNet v3"),
    (r"resnet\d+", "ResNet"),
    (r"inception_v\d", "Inception"),
)


def crosscheck(config: PipelineConfig, params: PluginParams, graph: SsdGraph) -> PluginParams:
    """Compare derived parameters with what the graph says.

    Returns:
        ``params`` with the graph's order of preprocessing, and with the constant-prior route where the plugin's formula
        is not within 1e-6 of the graph's own anchors.

    Raises:
        DerivationError: They differ (naming both values), or the NMS_TRT arithmetic does not hold.
    """
    _require_plain_nms(config, graph)
    for field, name, said, found in _pairs(config, params, graph):
        if not _same(said, found):
            other = _other_family(config, graph) if field.startswith("feature_extractor") else ""
            raise DerivationError(
                f"{config.where('model.ssd.' + field)}: pipeline.config says {_shown(said)} {name}, "
                f"the graph has {_shown(found)}",
                "they belong to different models" + (f": {other}" if other else ""),
                "use the pipeline.config that was exported with this graph",
            )
    checked = replace(params, input=_input(params.input, graph), notes=(*params.notes, *_notes(config, graph)))
    checked = _clipping(_anchors(config, checked, graph), graph)
    heads = [(head.feature_map[0] * head.feature_map[1] * head.anchors_per_cell) for head in graph.heads]
    check_nms_arithmetic(checked, sum(heads) * 4, sum(heads) * graph.num_classes)
    return checked


def _notes(config: PipelineConfig, graph: SsdGraph) -> Iterable[str]:
    """What is other than it seems, and does no harm."""
    other = _other_family(config, graph)
    if other:
        where = config.where("model.ssd.feature_extractor.type")
        yield f"{where}: {other}; nothing that is derived depends on it, the network is the graph's"
    preparation = graph.preprocessing
    if preparation.batch is not None and preparation.batch > 1:
        yield f"the graph takes {preparation.batch} images at once; it is converted for one"
    if preparation.image_size is not None:
        size = "{}x{}".format(*preparation.image_size)
        yield f"the graph was exported for images of {size} pixels alone; the converted model takes any"
    if graph.nms.written_out:
        yield (
            "the graph's suppression is written out in plain operations (use_static_shapes or use_partitioned_nms); "
            "its thresholds and limits are taken from pipeline.config"
        )


def _other_family(config: PipelineConfig, graph: SsdGraph) -> str:
    """That the graph's network is of another family than feature_extractor.type says; "" where it is not."""
    extractor = config.ssd.feature_extractor.type
    family = next((name for pattern, name in _FAMILIES if re.search(pattern, extractor)), None)
    if family is None or graph.backbone in (None, family):
        return ""
    return f"feature_extractor.type is {extractor!r}, but the graph's network is a {graph.backbone}"


def graph_anchors(graph: SsdGraph) -> np.ndarray[Any, Any]:
    """The graph's anchors in the plugin's form: float32 [N, 4] xmin, ymin, xmax, ymax."""
    return np.ascontiguousarray(graph.anchors[:, [1, 0, 3, 2]], np.float32)


def graph_priors(graph: SsdGraph) -> np.ndarray[Any, Any]:
    """The graph's anchors as NMS_TRT takes priors: float32 [2, N * 4, 1]; row 1 the variances x, y, w, h of each."""
    y, x, h, w = graph.box_coder_scales
    variances = np.array([1 / x, 1 / y, 1 / w, 1 / h], np.float32)
    priors: np.ndarray[Any, Any] = np.stack([graph_anchors(graph).ravel(), np.tile(variances, graph.num_priors)])
    return priors[:, :, None]


def _require_plain_nms(config: PipelineConfig, graph: SsdGraph) -> None:
    wrong = ""
    if graph.nms.soft_sigma > 0:
        wrong = f"soft suppression (sigma {graph.nms.soft_sigma:g})"
    elif graph.nms.class_agnostic:
        wrong = "one suppression over all classes"
    if wrong:
        raise DerivationError(
            f"{config.where('model.ssd.post_processing.batch_non_max_suppression')}: the graph has {wrong}",
            "NMS_TRT suppresses class by class, hard; pipeline.config does not ask for anything else",
            "export the model again with this pipeline.config",
        )


def _pairs(config: PipelineConfig, params: PluginParams, graph: SsdGraph) -> Iterable[Pair]:
    image, preparation = params.input, graph.preprocessing
    yield "num_classes", "classes", params.nms.num_classes - 1, graph.num_classes - 1
    yield from _resizing(config, image, graph)
    extractor = "feature_extractor.type"
    yield extractor, "as the normalisation's factor", image.normalize.scale, preparation.scale
    yield extractor, "as the normalisation's offset", image.normalize.offset, preparation.offset
    yield extractor, "as the feature maps", params.feature_map_shapes, graph.feature_map_shapes
    coder = config.ssd.box_coder.faster_rcnn_box_coder
    said = (coder.y_scale, coder.x_scale, coder.height_scale, coder.width_scale)
    yield "box_coder.faster_rcnn_box_coder", "as the scales y, x, h, w", said, tuple(graph.box_coder_scales)
    processing = "post_processing"
    yield f"{processing}.score_converter", "as the score converter", params.score_converter, graph.scores.converter
    yield (
        f"{processing}.logit_scale",
        "as the logit scale",
        config.ssd.post_processing.logit_scale,
        graph.scores.logit_scale,
    )
    yield from _suppression(config, params, graph)


def _suppression(config: PipelineConfig, params: PluginParams, graph: SsdGraph) -> Iterable[Pair]:
    nms, own = config.ssd.post_processing.batch_non_max_suppression, graph.nms
    prefix = "post_processing.batch_non_max_suppression"
    if own.written_out:
        return
    yield f"{prefix}.iou_threshold", "as the IoU threshold", nms.iou_threshold, own.iou_threshold
    yield f"{prefix}.score_threshold", "as the score threshold", nms.score_threshold, max(own.score_threshold, 0.0)
    # Where constants were folded, a limit stands as what it comes to: no more than there are boxes.
    most = min(nms.max_detections_per_class, params.num_priors)
    limits = [
        ("max_detections_per_class", nms.max_detections_per_class, own.max_per_class, params.num_priors),
        ("max_total_detections", nms.max_total_detections, own.max_total, most * (params.nms.num_classes - 1)),
    ]
    for field, said_limit, found, available in limits:
        if found and found != min(said_limit, available):  # 0: the graph's limit was not found
            yield f"{prefix}.{field}", f"as {field}", said_limit, found


def _resizing(config: PipelineConfig, image: InputSpec, graph: SsdGraph) -> Iterable[Pair]:
    preparation = graph.preprocessing
    resizer = f"image_resizer.{config.ssd.image_resizer.WhichOneof('image_resizer_oneof')}"
    margin = (f"{resizer}.per_channel_pad_value", "as the margin's value", image.resize.pad_value)
    yield resizer, "pixels (height, width)", (image.height, image.width), tuple(graph.input_size)
    if preparation.kind != "none":
        yield f"{resizer}.resize_method", "as the resize method", "bilinear", preparation.method
    if preparation.image_size is None:
        yield resizer, "as the way of resizing", image.resize.kind, preparation.kind
        if image.resize.kind == "keep_aspect_ratio":
            yield f"{resizer}.min_dimension", "as min_dimension", image.resize.min_dimension, preparation.min_dimension
            yield (*margin, preparation.pad_value)
        return
    # Exported for images of one size: what is done to such an image is what there is to compare.
    height, width = preparation.image_size
    try:
        said = resized_size(preparation.image_size, graph.input_size, asdict(image.resize))
    except AgentError as error:
        raise config.refuse(resizer, f"{error.what}: {error.why}", error.remedy) from None
    found = preparation.resized or preparation.image_size
    yield resizer, f"pixels for an image of {height}x{width}, before padding", said, tuple(found)
    if said != graph.input_size:
        yield (*margin, preparation.pad_value)


def _same(said: Any, found: Any) -> bool:
    if isinstance(said, str) or isinstance(found, str) or said is None or found is None:
        return bool(said == found)
    left, right = np.asarray(said, np.float64), np.asarray(found, np.float64)
    return left.shape == right.shape and bool(np.allclose(left, right, rtol=1e-6, atol=1e-12))


def _shown(value: Any) -> str:
    if isinstance(value, tuple) and all(isinstance(item, tuple) for item in value):
        return " ".join("x".join(map(str, item)) for item in value)
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(item) for item in value) + ")"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _input(image: InputSpec, graph: SsdGraph) -> InputSpec:
    preparation = graph.preprocessing
    resize = replace(image.resize, half_pixel_centers=preparation.half_pixel_centers)
    return replace(image, order=preparation.order, resize=resize)


def _anchors(config: PipelineConfig, params: PluginParams, graph: SsdGraph) -> PluginParams:
    """Hold the graph's anchors against the config's, then against the plugin's formula."""
    size, own = (params.input.height, params.input.width), graph_anchors(graph)
    distances = [
        _distance(reference_anchors(config, params.feature_map_shapes, size, order_of_2017=older), own)
        for older in (False, True)
    ]
    if min(distances) > ANCHOR_TOLERANCE:
        raise _other_anchors(config, params, graph, min(distances))
    if params.grid_anchor is None:
        return params
    reason = distance_reason(params.grid_anchor, own)
    if reason is None:
        return params
    why = (
        "the graph was exported by an API of 2017, with another order of boxes"
        if distances[0] > distances[1]
        else reason
    )
    return replace(params, grid_anchor=None, notes=(*params.notes, CONSTANT_NOTE + why))


def _other_anchors(config: PipelineConfig, params: PluginParams, graph: SsdGraph, distance: float) -> DerivationError:
    """The error for anchors that are not the config's, with the field that explains it where one does."""
    generators, size = config.ssd.anchor_generator, (params.input.height, params.input.width)
    per_cell = [head.anchors_per_cell for head in graph.heads]
    found = explain_difference(
        generators, params.feature_map_shapes, per_cell, size, graph_anchors(graph), ANCHOR_TOLERANCE
    )
    generator = f"anchor_generator.{generators.WhichOneof('anchor_generator_oneof')}"
    field = f"{generator}.{found.fields[0]}" if found else generator
    if params.num_priors != graph.num_priors:
        why = f"the config makes {params.num_priors} anchors, the graph has {graph.num_priors}"
    else:
        why = f"{graph.num_priors} anchors in each; they differ by up to {distance:.2g} of the image"
    remedy = "use the pipeline.config that was exported with this graph"
    if found:
        why = f"{why}: the config says {found.said}; the graph's anchors are those of {found.found}"
        remedy = f"{remedy}, or correct the field"
    return DerivationError(
        f"{config.where('model.ssd.' + field)}: pipeline.config and graph have different anchors", why, remedy
    )


def _clipping(params: PluginParams, graph: SsdGraph) -> PluginParams:
    if not graph.nms.clips_before:
        return params
    note = (
        "the graph clips boxes to the image before suppression, as exports to the spring of 2018 do; NMS_TRT clips "
        "after it, so boards that take the UFF can find other boxes at the image's edge; "
        "the ONNX files do as the graph does"
    )
    return replace(params.with_nms(clip_before=True), notes=(*params.notes, note))


def _distance(reference: Any, own: np.ndarray[Any, Any]) -> float:
    if reference is None or reference.shape != own.shape:
        return float("inf")
    return float(np.abs(reference - own).max())
