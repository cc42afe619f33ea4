"""A frozen SSD graph as the UFF that TensorRT's parser and SSD plugins take.

The network is rewritten as a TensorFlow graph with plugin nodes, as graph surgery scripts have always made it, and then
converted node by node. The pattern behind the predictors (Reshape to a Stack of the batch size and constants,
GridAnchor with a dummy input, Concat on axis 2, NMS) is that of real SSD files, but for the plugin FlattenConcat_TRT:
TensorRT 5.1 lacks it, and a Reshape of each level to [batch, numbers, 1, 1] with one Concat on axis 1 gives NMS_TRT the
same numbers in the same form, in every version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, TfShape, const, node_of
from jetlane.tasks.converter.graph.network import extract_network
from jetlane.tasks.converter.graph.ssd import PredictorHead, SsdGraph
from jetlane.tasks.converter.ssd.crosscheck import graph_priors
from jetlane.tasks.converter.ssd.params import TF_CENTER, GridAnchor, Nms, Normalization, PluginParams
from jetlane.tasks.converter.uff.build import convert_graph
from jetlane.tasks.converter.uff.model import Uff
from jetlane.tasks.converter.uff.parser_forms import add_batch_size, add_reshape, add_softmax

Array = np.ndarray[Any, Any]

#: Names that real SSD files use, and that scripts on the board look for.
NMS = "NMS"
PRIORS = "concat_priorbox"
LOCATIONS = "concat_box_loc"
CONFIDENCES = "concat_box_conf"
ANCHORS = "GridAnchor"


def convert(graph: Graph, ssd: SsdGraph, params: PluginParams, priors: Optional[Array] = None) -> Uff:
    """Convert a frozen SSD.

    Args:
        graph: As loaded.
        ssd: What :func:`jetlane.tasks.converter.graph.ssd.read_ssd` found in it.
        params: The plugins' parameters. ``grid_anchor`` None writes the anchors as one constant.
        priors: For that constant, float32 [2, priors * 4] or [2, priors * 4, 1]: xmin, ymin, xmax, ymax of each prior,
            then its variances x, y, w, h. The graph's own anchors when not given.

    Returns:
        Input ``Input`` [1, 3, H, W], output ``NMS`` (``MarkOutput_0``), with the evidence for every operation and
            the account of every rewrite.

    Raises:
        ConversionError: Parameters and graph do not fit each other, or an operation cannot be expressed.
        GraphError: The network cannot be cut out of the graph.
    """
    _check(ssd, params)
    network = extract_network(graph, ssd, params.input.name)
    target = network.graph
    _refuse_clashes(target, ssd)
    if params.engine_normalize is not None:
        _add_normalization(target, params.input.name, params.engine_normalize)
    target.add(Node(params.input.name, "Placeholder", (), {"dtype": FLOAT, "shape": TfShape((1, 3, *ssd.input_size))}))
    softmax = params.score_converter == "SOFTMAX"
    heads = [_add_head(target, head, ssd.num_classes, softmax) for head in ssd.heads]
    target.add(Node(LOCATIONS, "ConcatV2", [boxes for boxes, _ in heads], {"axis": 1}))
    target.add(Node(CONFIDENCES, "ConcatV2", [classes for _, classes in heads], {"axis": 1}))
    if params.grid_anchor is not None:
        _add_grid_anchor(target, params.grid_anchor)
    else:
        target.add(const(PRIORS, _constant_priors(ssd, priors)))
    _add_nms(target, params.nms, ssd.heads)
    uff = convert_graph(target, [NMS], {params.input.name: (1, *ssd.input_size, 3)})
    uff.rewrites = (*network.rewrites, *uff.rewrites)
    return uff


def _check(ssd: SsdGraph, params: PluginParams) -> None:
    facts = (
        ("classes with background", ssd.num_classes, params.nms.num_classes),
        ("anchors", ssd.num_priors, params.num_priors),
        ("score converter", ssd.scores.converter, params.score_converter),
        ("input size", ssd.input_size, (params.input.height, params.input.width)),
        ("feature maps", ssd.feature_map_shapes, tuple(tuple(shape) for shape in params.feature_map_shapes)),
    )
    for what, found, given in facts:
        if found != given:
            raise ConversionError(
                f"the graph and the plugin parameters differ in their {what}: {found} and {given}",
                "they belong to different models",
                "derive the parameters from the pipeline.config exported with this graph",
            )


def _refuse_clashes(graph: Graph, ssd: SsdGraph) -> None:
    reshapes = {name for head in ssd.heads for name in (head.box_reshape, head.class_reshape)}
    clash = {LOCATIONS, CONFIDENCES, PRIORS, NMS, ANCHORS} & (reshapes | set(graph.nodes))
    if clash:
        raise ConversionError(f"nodes of the graph are called {sorted(clash)}", "these names belong to the plugins", "")


def _add_normalization(graph: Graph, image: str, normalize: Normalization) -> None:
    """Let the network read ``image * scale + offset``.

    A convolution of 1x1 with a diagonal kernel, and a bias: that is how every real file begins, while none applies a
    Binary to the image itself, whose channels stand first. The network's own first convolution cannot take this over
    where its padding is SAME: its margin of zeros is one of normalised pixels.
    """
    name = graph.unused_name("normalize")
    kernel = graph.add(const(f"{name}/kernel", np.diag(normalize.scale).astype(np.float32)[None, None])).name
    attributes = {"strides": [1, 1, 1, 1], "padding": "VALID", "data_format": "NHWC", "T": FLOAT}
    scaled = Node(f"{name}/scale", "Conv2D", [image, kernel], attributes)
    offset = graph.add(const(f"{name}/offset", np.array(normalize.offset, np.float32))).name
    graph.redirect({image: name, f"{image}:0": name})
    graph.add(scaled)
    graph.add(Node(name, "BiasAdd", [scaled.name, offset], {"T": FLOAT}))


def _add_head(graph: Graph, head: PredictorHead, num_classes: int, softmax: bool) -> tuple[str, str]:
    """Give a level's outputs the forms [1, n * 4, 1, 1] and [1, n * classes, 1, 1]; the latter softmaxed if asked."""
    batch = add_batch_size(graph, head.box_reshape.rpartition("/")[0] or head.box_reshape, head.feature)
    count = head.feature_map[0] * head.feature_map[1] * head.anchors_per_cell
    boxes = add_reshape(graph, head.box_reshape, head.boxes, batch, (count * 4, 1, 1))
    classes = head.classes
    if softmax:
        logits = add_reshape(graph, f"{head.class_reshape}/logits", classes, batch, (count, 1, num_classes))
        classes = add_softmax(graph, f"{head.class_reshape}/softmax", logits)
    return boxes, add_reshape(graph, head.class_reshape, classes, batch, (count * num_classes, 1, 1))


def _add_grid_anchor(graph: Graph, anchors: GridAnchor) -> None:
    square = anchors.square
    shapes = (
        [height for height, _ in anchors.feature_map_shapes]
        if square
        else [s for hw in anchors.feature_map_shapes for s in hw]
    )
    # The plugin reads no tensor, but the parser fails on a plugin node without an input.
    dummy = graph.add(const(f"{ANCHORS}/AnchorInput", np.ones(2, np.float32))).name
    fields = {
        "numLayers_u_int": anchors.num_layers,
        "minSize_u_float": _single(anchors.min_size),
        "maxSize_u_float": _single(anchors.max_size),
        "aspectRatios_u_flist": [_single(ratio) for ratio in anchors.aspect_ratios],
        "featureMapShapes_u_ilist": shapes,
        "variance_u_flist": [_single(number) for number in anchors.variance],
        "dtype": FLOAT,
    }
    graph.add(Node(ANCHORS, "GridAnchor_TRT" if square else "GridAnchorRect_TRT", [dummy], fields))
    graph.add(Node(PRIORS, "ConcatV2", [ANCHORS], {"axis": 2}))


def _constant_priors(ssd: SsdGraph, priors: Optional[Array]) -> Array:
    values = graph_priors(ssd) if priors is None else np.asarray(priors, np.float32)
    wanted = (2, ssd.num_priors * 4, 1)
    if values.size != np.prod(wanted) or values.shape[:2] != wanted[:2]:
        raise ConversionError(f"the priors have the shape {list(values.shape)}, not {list(wanted)}", "", "")
    return np.ascontiguousarray(values.reshape(wanted))


def _input_order(graph: Graph, inputs: Sequence[str], heads: Sequence[PredictorHead]) -> tuple[int, int, int]:
    """Positions of box codes, scores and priors among the inputs of NMS_TRT, by what feeds each.

    Raises:
        ConversionError: Not exactly one input depends on the box predictors, one on the class predictors alone, and one
            on neither.
    """
    boxes, classes = ({node_of(ref) for ref in refs} for refs in zip(*((head.boxes, head.classes) for head in heads)))
    found: dict[str, int] = {}
    for position, name in enumerate(inputs):
        above = set(graph.ancestors([name]))
        roles = [role for role, ends in (("boxes", boxes), ("classes", classes)) if ends & above]
        found["/".join(roles) or "priors"] = position
    if set(found) != {"boxes", "classes", "priors"}:
        raise ConversionError(
            f"NMS_TRT's inputs {', '.join(inputs)} depend on {', '.join(found)}",
            "one is to come from the box predictors, one from the class predictors, one from neither",
            "report the model's architecture",
        )
    return found["boxes"], found["classes"], found["priors"]


def _add_nms(graph: Graph, nms: Nms, heads: Sequence[PredictorHead]) -> None:
    inputs = [""] * 3
    for name, position in zip((LOCATIONS, CONFIDENCES, PRIORS), nms.input_order):
        inputs[position] = name
    if "" in inputs:
        raise ConversionError(f"inputOrder {list(nms.input_order)} is no order of three inputs", "", "")
    fields: dict[str, Any] = {
        "shareLocation_u_int": int(nms.share_location),
        "varianceEncodedInTarget_u_int": int(nms.variance_encoded_in_target),
        "backgroundLabelId_u_int": nms.background_label_id,
        "confidenceThreshold_u_float": _single(nms.confidence_threshold),
        "nmsThreshold_u_float": _single(nms.nms_threshold),
        "topK_u_int": nms.top_k,
        "keepTopK_u_int": nms.keep_top_k,
        "numClasses_u_int": nms.num_classes,
        "inputOrder_u_ilist": list(_input_order(graph, inputs, heads)),
        "confSigmoid_u_int": int(nms.conf_sigmoid),
        "isNormalized_u_int": int(nms.is_normalized),
        "dtype": FLOAT,
    }
    if nms.code_type != TF_CENTER:  # the plugin's default, which real files leave unsaid
        fields["codeType_u_int"] = nms.code_type
    graph.add(Node(NMS, "NMS_TRT", inputs, fields))


def _single(number: float) -> float:
    """As real files hold it: the float32, widened."""
    return float(np.float32(number))
