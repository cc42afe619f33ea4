"""pipeline.config -> the numbers TensorRT's SSD plugins need.

What the plugins cannot express is either carried another way (anchors as a constant) with a note that says why, or
refused by the field's name and line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import DerivationError
from jetlane.tasks.converter.arithmetic import shortest
from jetlane.tasks.converter.ssd import anchors, plugins
from jetlane.tasks.converter.ssd.config import PipelineConfig
from jetlane.tasks.converter.ssd.feature_maps import feature_map_shapes
from jetlane.tasks.converter.ssd.image_input import input_spec
from jetlane.tasks.converter.ssd.params import GridAnchor, Nms, PluginParams
from jetlane.tasks.converter.ssd.unsupported_settings import refuse_inexpressible

Shape = tuple[int, int]

DEPLOYMENT_THRESHOLD = 0.3
EVALUATION_THRESHOLD = 1e-8
#: The plugin's formula counts as exact when no coordinate is further off than this (it reaches 1.2e-7).
ANCHOR_TOLERANCE = 1e-6
#: Begins the note that says why the plugin is not taken.
CONSTANT_NOTE = "anchors travel as a constant: "
#: Candidates per class that enter suppression at least; all priors would slow the plugin's sort on a small board.
LEAST_TOP_K = 100
#: NMS_TRT has kernels for so many candidates per class and crashes above.
MOST_TOP_K = 4096


def derive(config: PipelineConfig, shapes: Optional[Sequence[Shape]] = None) -> PluginParams:
    """Everything that follows from a pipeline.config.

    Args:
        shapes: (height, width) of the feature maps as the frozen graph has them; needed only for an extractor whose
            layout is not known, and otherwise ignored (``crosscheck`` compares).

    Raises:
        DerivationError: A field that cannot be expressed, by name and line.
        SpecError: The resizer cannot give a fixed input size.
    """
    ssd = config.ssd
    refuse_inexpressible(config)
    image = input_spec(config)
    size = (image.height, image.width)
    maps = feature_map_shapes(config, size) or tuple(shapes or ())
    if not maps:
        raise config.refuse(
            "feature_extractor.type",
            f"the layout of {ssd.feature_extractor.type!r} is not known here",
            "give the frozen graph too: its feature maps tell",
        )
    notes: list[str] = []
    priors = _num_priors(config, maps, size)
    grid = _grid_anchor(config, maps, size, notes)
    return PluginParams(
        input=image,
        nms=_nms(config, priors, notes),
        num_priors=priors,
        feature_map_shapes=tuple(maps),
        grid_anchor=grid,
        variances=variances(config),
        score_converter=_score_converter(config),
        notes=tuple(notes),
    )


def variances(config: PipelineConfig) -> tuple[float, float, float, float]:
    """In the plugin's order x, y, w, h, whatever the order of the codes."""
    coder = config.ssd.box_coder.faster_rcnn_box_coder
    return (1 / coder.x_scale, 1 / coder.y_scale, 1 / coder.width_scale, 1 / coder.height_scale)


def reference_anchors(
    config: PipelineConfig, maps: Sequence[Shape], size: Shape, *, order_of_2017: bool = False
) -> Optional[anchors.Array]:
    """The API's anchors for this config, float32 [N, 4] xmin, ymin, xmax, ymax; None for a generator not modelled.

    Raises:
        DerivationError: The generator does not fit the feature maps.
    """
    try:
        return anchors.anchors(config.ssd.anchor_generator, maps, size, order_of_2017=order_of_2017)
    except (ValueError, ZeroDivisionError) as error:
        raise config.refuse(_generator(config), str(error), "the Object Detection API refuses this too") from None


def _generator(config: PipelineConfig) -> str:
    kind = config.ssd.anchor_generator.WhichOneof("anchor_generator_oneof")
    return f"anchor_generator.{kind}" if kind else "anchor_generator"


def _num_priors(config: PipelineConfig, maps: Sequence[Shape], size: Shape) -> int:
    reference = reference_anchors(config, maps, size)
    if reference is None:
        raise config.refuse(_generator(config), "only ssd_anchor_generator and multiscale_anchor_generator are known")
    return len(reference)


def _grid_anchor(config: PipelineConfig, maps: Sequence[Shape], size: Shape, notes: list[str]) -> Optional[GridAnchor]:
    """GridAnchor_TRT's fields where its formula gives the API's anchors; else None and a note that says why."""
    reason = _why_not_grid_anchor(config, maps)
    if reason is None:
        generator = config.ssd.anchor_generator.ssd_anchor_generator
        grid = GridAnchor(
            len(maps),
            *_scale_range(generator),
            tuple(map(shortest, generator.aspect_ratios)),
            tuple(maps),
            variances(config),
        )
        reason = distance_reason(grid, reference_anchors(config, maps, size))
        if reason is None:
            return grid
        suspect = _suspect_field(config, size)
        if suspect:
            reason = f"{config.where('model.ssd.' + suspect)}: {suspect.rpartition('.')[2]}: {reason}"
    notes.append(CONSTANT_NOTE + reason)
    return None


def distance_reason(grid: GridAnchor, reference: Optional[anchors.Array]) -> Optional[str]:
    """Why the plugin's formula is not these anchors, or None when it is, within 1e-6."""
    boxes = plugins.grid_anchor_boxes(grid)
    if reference is None or boxes.shape != reference.shape:
        there = 0 if reference is None else len(reference)
        return f"GridAnchor_TRT makes {len(boxes)} boxes where the model has {there}"
    distance = float(np.abs(boxes - reference).max())
    return None if distance <= ANCHOR_TOLERANCE else f"GridAnchor_TRT's boxes would be up to {distance:.2g} off"


def _why_not_grid_anchor(config: PipelineConfig, maps: Sequence[Shape]) -> Optional[str]:
    """A reason that needs no comparison of boxes."""
    kind = config.ssd.anchor_generator.WhichOneof("anchor_generator_oneof")
    where = config.where(f"model.ssd.anchor_generator.{kind}")
    if kind != "ssd_anchor_generator":
        return f"{where}: {kind}: GridAnchor_TRT knows the anchors of ssd_anchor_generator only"
    generator = config.ssd.anchor_generator.ssd_anchor_generator
    if len(maps) < 2:
        return f"{where}: num_layers: GridAnchor_TRT divides by zero with one layer"
    if len(generator.aspect_ratios) < 3:
        return f"{where}: aspect_ratios: GridAnchor_TRT reads three at least"
    if any(height != width for height, width in maps):
        return "the feature maps are not square; boards below TensorRT 8.5 have no working GridAnchorRect_TRT"
    return None


def _scale_range(generator: Any) -> tuple[float, float]:
    """minSize and maxSize: from the explicit scales where there are any, since they may be the linear ones."""
    if generator.scales:
        return shortest(generator.scales[0]), shortest(generator.scales[-1])
    return shortest(generator.min_scale), shortest(generator.max_scale)


def _suspect_field(config: PipelineConfig, size: Shape) -> Optional[str]:
    """The field that most likely makes the anchors differ from the plugin's."""
    generator = config.ssd.anchor_generator.ssd_anchor_generator
    prefix = "anchor_generator.ssd_anchor_generator."
    first = [round(ratio, 3) for ratio in list(generator.aspect_ratios)[:3]]
    suspects = [
        ("reduce_boxes_in_lowest_layer", not generator.reduce_boxes_in_lowest_layer),
        ("interpolated_scale_aspect_ratio", generator.interpolated_scale_aspect_ratio != 1),
        ("scales", bool(generator.scales)),
        ("height_stride", bool(generator.height_stride)),
        ("height_offset", bool(generator.height_offset)),
        ("base_anchor_height", generator.base_anchor_height != 1),
        ("base_anchor_width", generator.base_anchor_width != 1),
        ("aspect_ratios", first != [1.0, 2.0, 0.5]),
    ]
    found = next((prefix + name for name, suspected in suspects if suspected), None)
    return found or ("image_resizer" if size[0] != size[1] else None)


def _score_converter(config: PipelineConfig) -> str:
    processing = config.ssd.post_processing
    return str(type(processing).ScoreConverter.Name(processing.score_converter))


def _nms(config: PipelineConfig, priors: int, notes: list[str]) -> Nms:
    suppression = config.ssd.post_processing.batch_non_max_suppression
    where = config.where("model.ssd.post_processing.batch_non_max_suppression")
    top_k = max(LEAST_TOP_K, suppression.max_detections_per_class)
    if top_k > min(priors, MOST_TOP_K):
        top_k = min(priors, MOST_TOP_K)
        notes.append(f"topK is limited to {top_k}: there are {priors} priors; the plugin takes {MOST_TOP_K} at most")
    keep_top_k = min(suppression.max_total_detections, top_k)
    if keep_top_k < suppression.max_total_detections:
        notes.append(
            f"{where}: max_total_detections {suppression.max_total_detections} is limited to topK, {top_k}: "
            "NMS_TRT writes nothing when keepTopK is above it"
        )
    converter = _score_converter(config)
    lowest = suppression.score_threshold
    if lowest < 0 and converter == "IDENTITY":
        raise config.refuse(
            "post_processing.batch_non_max_suppression.score_threshold",
            f"it is {lowest:g}; NMS_TRT sorts empty slots before negative scores",
            "use score_converter: SIGMOID, or a threshold of 0 or more",
        )
    if lowest > DEPLOYMENT_THRESHOLD:
        notes.append(f"{where}: score_threshold {lowest:g} is above {DEPLOYMENT_THRESHOLD} and is kept for deployment")
    return Nms(
        num_classes=config.ssd.num_classes + 1,
        top_k=top_k,
        keep_top_k=keep_top_k,
        nms_threshold=shortest(suppression.iou_threshold),
        confidence_threshold=max(DEPLOYMENT_THRESHOLD, shortest(lowest)),
        evaluation_threshold=max(EVALUATION_THRESHOLD, shortest(lowest)),
        conf_sigmoid=converter == "SIGMOID",
    )


def check_nms_arithmetic(params: PluginParams, loc_length: int, conf_length: int) -> None:
    """The assertions NMS_TRT makes when it is configured, and the two limits it does not check.

    Args:
        loc_length, conf_length: Elements per image of the plugin's box and class inputs.

    Raises:
        DerivationError: Naming both sides.
    """
    nms, priors = params.nms, params.num_priors
    checks = [
        (priors * 4 == loc_length, f"{priors} priors x 4 codes = {priors * 4}, the graph has {loc_length} box codes"),
        (
            priors * nms.num_classes == conf_length,
            f"{priors} priors x {nms.num_classes} classes (background included) = {priors * nms.num_classes}, "
            f"the graph has {conf_length} class scores",
        ),
        (nms.top_k <= priors, f"topK {nms.top_k} is above the {priors} priors"),
        (nms.keep_top_k <= nms.top_k, f"keepTopK {nms.keep_top_k} is above topK {nms.top_k}"),
    ]
    for holds, why in checks:
        if not holds:
            raise DerivationError(
                "NMS_TRT would refuse or spoil this model",
                why,
                "pipeline.config and frozen graph belong to different models, most likely",
            )
