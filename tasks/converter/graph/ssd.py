"""What a frozen graph says of the SSD inside it, read by structure and from the graph alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.backbone import find_backbone
from jetlane.tasks.converter.graph.find.decode import Decoder, find_decoder
from jetlane.tasks.converter.graph.find.heads import (
    Joint,
    Scores,
    find_box_joint,
    find_class_joint,
    find_scores,
    first_convolution,
)
from jetlane.tasks.converter.graph.find.nms import NmsSettings, find_nms
from jetlane.tasks.converter.graph.find.preprocessing import Preprocessing, find_preprocessing
from jetlane.tasks.converter.graph.find.walk import CONVOLUTIONS, nearest
from jetlane.tasks.converter.graph.graph import Graph
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.rewrites.batch import cut_batch_to_one
from jetlane.tasks.converter.graph.simplify import simplify


@dataclass(frozen=True)
class PredictorHead:
    """One level of the SSD.

    Attributes:
        feature: Tensor the box convolution reads.
        boxes: Its output with bias, [1, h, w, anchors_per_cell * 4].
        classes: The class convolution's output with bias, [1, h, w, anchors_per_cell * num_classes].
        box_reshape, class_reshape: The nodes that give them the forms [1, n, (1,) 4] and [1, n, num_classes].
        feature_map: Height and width of the level.
    """

    feature: str
    boxes: str
    classes: str
    box_reshape: str
    class_reshape: str
    feature_map: tuple[int, int]
    anchors_per_cell: int


@dataclass(frozen=True)
class SsdGraph:
    """An SSD as its frozen graph states it.

    Attributes:
        image: The image placeholder.
        input_size: Height and width of the network's input, pixels.
        preprocessing: Resize, padding and normalisation; ``preprocessing.tensor`` is where the network begins.
        encodings: Tensor [1, anchors, 4], as it enters the box decoder.
        logits: Tensor [1, anchors, num_classes], before scores are made of it.
        heads: One per level, in the order of the anchors.
        num_classes: Columns of the logits, background included.
        box_coder_scales: y, x, h, w.
        scores: How logits become scores.
        nms: Settings of the graph's own suppression.
        anchors: float32 [anchors, 4]: ymin, xmin, ymax, xmax in 0..1 of the network's frame.
        rewrites: What was done to the graph before it was read.
        backbone: Family of the feature extractor, one of :mod:`find.backbone`'s; None where it is another.
        constant_anchors: The anchors are constants, and no nodes make them.
    """

    image: str
    input_size: tuple[int, int]
    preprocessing: Preprocessing
    encodings: str
    logits: str
    heads: tuple[PredictorHead, ...]
    num_classes: int
    box_coder_scales: tuple[float, float, float, float]
    scores: Scores
    nms: NmsSettings
    anchors: np.ndarray[Any, Any]
    rewrites: tuple[Applied, ...]
    backbone: Optional[str] = None
    constant_anchors: bool = False

    @property
    def feature_map_shapes(self) -> tuple[tuple[int, int], ...]:
        return tuple(head.feature_map for head in self.heads)

    @property
    def num_priors(self) -> int:
        return len(self.anchors)


def read_ssd(graph: Graph, input_size: Optional[tuple[int, int]] = None) -> SsdGraph:
    """Find the SSD in a frozen graph and read its numbers back.

    Args:
        graph: As loaded.
        input_size: Height and width of the network's input, for graphs whose input size depends on the image.

    Raises:
        GraphError: The graph is no SSD that can be understood; or its input size is not fixed and none was given; or it
            contradicts ``input_size``.
    """
    simple, rewrites = simplify(graph)
    static = Evaluator(simple)
    decoder = find_decoder(simple, static)
    boxes = find_box_joint(simple, decoder.encodings)
    classes = find_class_joint(simple, boxes)
    preprocessing = find_preprocessing(simple, static, first_convolution(simple, boxes.outputs[0]))
    size = _settle_size(preprocessing.size, input_size)
    preprocessing = replace(preprocessing, size=size)
    single = simple.copy()
    wanted = (*boxes.outputs, classes.concat)
    cut_batch_to_one(single, preprocessing.tensor, wanted, (1, *size, 3), preprocessing.batch)
    evaluator = Evaluator(single, {preprocessing.tensor: (1, *size, 3)})
    num_classes = evaluator.shape(classes.concat)[-1]
    heads = tuple(_head(single, evaluator, boxes, classes, level, num_classes) for level in range(len(boxes.outputs)))
    scores = find_scores(simple, static, classes.concat)
    anchors = _anchors(evaluator, decoder, preprocessing.batch or 1)
    expected = sum(h.feature_map[0] * h.feature_map[1] * h.anchors_per_cell for h in heads)
    if len(anchors) != expected:
        raise GraphError(
            f"the graph makes {len(anchors)} anchors, its predictors {expected} boxes",
            f"the input size {size[0]}x{size[1]} is not the one it was trained for, or the graph was edited",
            "",
        )
    return SsdGraph(
        image=preprocessing.image,
        input_size=size,
        preprocessing=preprocessing,
        encodings=decoder.encodings,
        logits=classes.concat,
        heads=heads,
        num_classes=num_classes,
        box_coder_scales=decoder.scales,
        scores=scores,
        nms=find_nms(
            simple, static, num_classes - int(scores.slices_background), classes.concat, preprocessing.batch or 1
        ),
        anchors=anchors,
        rewrites=rewrites,
        backbone=find_backbone(simple, static, preprocessing.tensor, (*boxes.outputs, *classes.outputs)),
        constant_anchors=decoder.anchors is None or simple[decoder.anchors].op == "Const",
    )


def _settle_size(found: Optional[tuple[int, int]], given: Optional[tuple[int, int]]) -> tuple[int, int]:
    if found is None and given is None:
        raise GraphError(
            "the size of the network's input is not fixed in the graph",
            "it depends on the image (keep_aspect_ratio_resizer without padding, or no resizer)",
            "use a fixed_shape_resizer or pad_to_max_dimension, or name the size",
        )
    if found is not None and given is not None and tuple(found) != tuple(given):
        raise GraphError(
            f"the graph's input is {found[0]}x{found[1]}, not {given[0]}x{given[1]}",
            "graph and configuration belong to different models",
            "use the pipeline.config that was exported with this graph",
        )
    return tuple(found or given)  # type: ignore[arg-type, return-value]


def _head(
    graph: Graph, evaluator: Evaluator, boxes: Joint, classes: Joint, level: int, num_classes: int
) -> PredictorHead:
    box, cls = boxes.outputs[level], classes.outputs[level]
    box_shape, class_shape = evaluator.shape(box), evaluator.shape(cls)
    if len(box_shape) != 4 or box_shape[:3] != class_shape[:3] or box_shape[3] % 4:
        raise GraphError(
            f"the predictors of level {level} do not fit each other", f"boxes {box_shape}, classes {class_shape}", ""
        )
    per_cell = box_shape[3] // 4
    if class_shape[3] != per_cell * num_classes:
        raise GraphError(
            f"level {level} has {class_shape[3]} class channels for {per_cell} boxes of {num_classes} classes",
            "the graph was edited, or has a further predictor",
            "",
        )
    convolution = nearest(graph, box, lambda node: node.op in CONVOLUTIONS)
    if convolution is None:  # find_box_joint met it before
        raise GraphError(f"level {level} has no convolution", "", "")
    return PredictorHead(
        feature=convolution.inputs[0],
        boxes=box,
        classes=cls,
        box_reshape=boxes.reshapes[level],
        class_reshape=classes.reshapes[level],
        feature_map=(box_shape[1], box_shape[2]),
        anchors_per_cell=per_cell,
    )


def _anchors(evaluator: Evaluator, decoder: Decoder, batch: int) -> np.ndarray[Any, Any]:
    """float32 [anchors, 4] of one image."""
    anchors = decoder.folded if decoder.anchors is None else evaluator.value(decoder.anchors)
    if anchors is not None and anchors.ndim == 3 and len(anchors) in (1, batch):
        anchors = anchors.reshape(-1, anchors.shape[-1])
    if anchors is not None and anchors.ndim == 2 and anchors.shape[1] == 4 and batch > 1:
        anchors = _of_one_image(anchors, batch)
    if anchors is None or anchors.ndim != 2 or anchors.shape[1] != 4:
        raise GraphError(
            "the anchors cannot be worked out from the graph",
            f"{decoder.anchors!r} depends on more than the sizes of the feature maps",
            "convert the graph that export_inference_graph wrote, before other tools rewrote it",
        )
    return np.ascontiguousarray(anchors, np.float32)


def _of_one_image(anchors: np.ndarray[Any, Any], batch: int) -> np.ndarray[Any, Any]:
    """Anchors that are the same for each image of a batch, once."""
    count = len(anchors) // batch
    repeated = len(anchors) % batch == 0 and count and np.array_equal(anchors, np.tile(anchors[:count], (batch, 1)))
    return anchors[:count] if repeated else anchors
