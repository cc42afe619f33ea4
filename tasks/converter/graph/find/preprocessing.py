"""From the image to the tensor that enters the network: resize, padding, normalisation, and their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.find.walk import nearest, scalar
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of

_ARITHMETIC = ("Mul", "Sub", "Add", "AddV2", "RealDiv", "Div")
_RESIZES = ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea")
_PASSING = (
    "Squeeze",
    "ExpandDims",
    "Unpack",
    "Pack",
    "StridedSlice",
    "Reshape",
    "Cast",
    "Enter",
    "Switch",
    "Slice",
    "Pad",
    "PadV2",
)
_INPUTS = ("Placeholder", "PlaceholderWithDefault")

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Preprocessing:
    """How the graph itself prepares an image.

    Attributes:
        image: Name of the image placeholder.
        encoded: True when it takes encoded bytes (JPEG, PNG) instead of pixels.
        tensor: The tensor that enters the network.
        size: Height and width of that tensor, pixels; None when it depends on the image.
        kind: ``fixed_shape``, ``keep_aspect_ratio``, or ``none`` when the graph does not resize.
        method: ``bilinear``, ``nearest_neighbor``, ``bicubic``, ``area``.
        min_dimension, max_dimension: The bounds of ``keep_aspect_ratio``; pixels.
        pad_to_max: The image is padded at right and bottom.
        pad_value: The margin's value per channel, in the scale of the tensor that is padded.
        half_pixel_centers: Whether the resize takes pixels at their centres.
        scale, offset: ``y = x * scale + offset`` per RGB channel, x in 0..255.
        order: ``resize_normalize`` or ``normalize_resize``.
        batch: Images that the graph takes at once; None where any number.
        image_size: Height and width of the images that it takes, pixels; None where they are free. Then ``kind`` says
            what is done to such an image: nothing (``none``) or a resize to ``resized``.
        resized: Height and width before padding, where these are fixed.
    """

    image: str
    encoded: bool
    tensor: str
    size: Optional[tuple[int, int]]
    kind: str = "none"
    method: str = "bilinear"
    min_dimension: Optional[int] = None
    max_dimension: Optional[int] = None
    pad_to_max: bool = False
    pad_value: Triple = (0.0, 0.0, 0.0)
    half_pixel_centers: bool = False
    scale: Triple = (1.0, 1.0, 1.0)
    offset: Triple = (0.0, 0.0, 0.0)
    order: str = "resize_normalize"
    batch: Optional[int] = None
    image_size: Optional[tuple[int, int]] = None
    resized: Optional[tuple[int, int]] = None


def find_preprocessing(graph: Graph, evaluator: Evaluator, first: Node) -> Preprocessing:
    """Follow the image from its placeholder to the network.

    Args:
        first: The network's first convolution.

    Raises:
        GraphError: The way is not understood.
    """
    tensor = first.inputs[0]
    seen: set[str] = set()
    while graph[tensor].op in ("Pad", "PadV2") and evaluator.value(graph[tensor].inputs[1]) is not None:
        if tensor in seen:
            raise GraphError("the network contains a loop", f"{tensor!r} depends on itself", "export the graph again")
        seen.add(tensor)
        tensor = graph[tensor].inputs[0]  # part of the convolution's own padding
    path = _path(graph, evaluator, tensor)
    last = path[-1]
    if last.op not in _INPUTS:
        placeholder = nearest(graph, last.name, lambda node: node.op in _INPUTS)
        if placeholder is None:
            raise GraphError(
                "the image input cannot be found", f"above {last.op} {last.name!r} there is no placeholder", ""
            )
        last = placeholder
    resizes = [index for index, node in enumerate(path) if node.op in _RESIZES]
    arithmetic = [(index, node) for index, node in enumerate(path) if node.op in _ARITHMETIC]
    scale, offset = _compose(evaluator, [node for _, node in reversed(arithmetic)])
    normalizes_first = bool(resizes and arithmetic and arithmetic[0][0] > resizes[0])
    facts = _resize_facts(graph, evaluator, path, resizes)
    batch, image_size = _declared(last)
    static = evaluator.fact(tensor).shape if image_size else None
    size = (static[1], static[2]) if static and len(static) == 4 else _frame(graph, evaluator, path)
    size = size or facts.get("size")
    facts.pop("size", None)
    return Preprocessing(
        image=last.name,
        encoded=int(last.attr("dtype", 4)) == 7,
        tensor=tensor,
        size=size,
        scale=scale,
        offset=offset,
        order="normalize_resize" if normalizes_first else "resize_normalize",
        batch=batch,
        image_size=image_size,
        **facts,
    )


def _declared(placeholder: Node) -> tuple[Optional[int], Optional[tuple[int, int]]]:
    """(images at once, height and width) as far as the placeholder fixes them."""
    shape = list(placeholder.attr("shape") or ())
    batch = shape[0] if shape and shape[0] > 0 else None
    return batch, (shape[1], shape[2]) if len(shape) == 4 and min(shape[1:3]) > 0 else None


def _path(graph: Graph, evaluator: Evaluator, tensor: str) -> list[Node]:
    """Nodes from the network's input up to the placeholder, or to where the way is lost."""
    path: list[Node] = []
    seen: set[str] = set()
    ref: Optional[str] = tensor
    while ref is not None and node_of(ref) not in seen:
        node = graph[ref]
        seen.add(node.name)
        path.append(node)
        ref = _before(graph, evaluator, node)
    return path


def _before(graph: Graph, evaluator: Evaluator, node: Node) -> Optional[str]:
    """The tensor an image comes from, one step towards the placeholder."""
    if node.op in _ARITHMETIC:
        data = [ref for ref in node.inputs if evaluator.value(ref) is None]
        return data[0] if len(data) == 1 else None
    if node.op in _PASSING or node.op in _RESIZES:
        return node.inputs[0] if node.inputs else None
    if node.op == "Merge":  # the two branches of "landscape or portrait"
        return node.inputs[0]
    if node.op in ("TensorArrayGatherV3", "TensorArrayGatherV2"):
        return _written(graph, node.inputs[2], "TensorArrayWriteV3")
    if node.op == "TensorListStack":
        return _written(graph, node.inputs[0], "TensorListSetItem")
    if node.op in ("TensorArrayReadV3", "TensorListGetItem"):
        source = nearest(
            graph,
            node.inputs[-1] if node.op == "TensorArrayReadV3" else node.inputs[0],
            lambda n: n.op in ("TensorArrayScatterV3", "TensorListFromTensor"),
        )
        if source is None:
            return None
        return source.inputs[2] if source.op == "TensorArrayScatterV3" else source.inputs[0]
    return None


def _written(graph: Graph, flow: str, writer: str) -> Optional[str]:
    """What a loop writes per image: from the loop's exit round to the write."""
    node = nearest(graph, flow, lambda n: n.op == writer)
    return node.inputs[2] if node is not None else None


def _frame(graph: Graph, evaluator: Evaluator, path: list[Node]) -> Optional[tuple[int, int]]:
    """Height and width that the stacking of the resized images declares."""
    for node in path:
        shape: Optional[list[int]] = None
        if node.op.startswith("TensorArrayGather"):
            declared = node.attr("element_shape")
            shape = list(declared) if declared is not None else None
        elif node.op == "TensorListStack":
            value = evaluator.value(node.inputs[1])
            shape = [int(size) for size in np.ravel(value)] if value is not None else None
        elif node.op in _INPUTS:
            declared = node.attr("shape")
            shape = list(declared)[1:] if declared is not None and len(declared) == 4 else None
        if shape and len(shape) == 3 and shape[0] > 0 and shape[1] > 0:
            return int(shape[0]), int(shape[1])
        if node.op in _RESIZES or node.op in ("TensorArrayReadV3", "TensorListGetItem"):
            break
    return None


@np.errstate(over="ignore", invalid="ignore")  # seen to at the end
def _compose(evaluator: Evaluator, nodes: list[Node]) -> tuple[Triple, Triple]:
    """Scale and offset of a chain of constant arithmetic, in the order it is applied (float64)."""
    scale, offset = np.ones(3), np.zeros(3)
    for node in nodes:
        first = evaluator.value(node.inputs[0])
        constant = first if first is not None else evaluator.value(node.inputs[1])
        number = np.ravel(np.asarray(constant, np.float64))
        if not np.isfinite(number).all() or (node.op in ("RealDiv", "Div") and not np.all(number)):
            raise GraphError(f"{node.name!r} normalises with {number}", "numbers are understood", "")
        if number.size not in (1, 3):
            raise GraphError(
                f"{node.name!r} normalises with {number.size} numbers", "one, or one per colour, is understood", ""
            )
        if node.op == "Mul":
            scale, offset = scale * number, offset * number
        elif node.op in ("RealDiv", "Div"):
            if first is not None:
                raise GraphError(f"{node.name!r} divides by the image", "no known normalisation does", "")
            scale, offset = scale / number, offset / number
        elif node.op in ("Add", "AddV2"):
            offset = offset + number
        else:
            scale, offset = (-scale, number - offset) if first is not None else (scale, offset - number)
    return _triple(scale), _triple(offset)


def _triple(numbers: np.ndarray[Any, Any]) -> Triple:
    if not np.isfinite(numbers).all():
        raise GraphError(f"the image is normalised with {numbers}", "numbers are understood", "export the graph again")
    r, g, b = (float(number) for number in np.broadcast_to(numbers, 3))
    return r, g, b


def _resize_facts(graph: Graph, evaluator: Evaluator, path: list[Node], resizes: list[int]) -> dict[str, Any]:
    if not resizes:
        pads = [node for node in path if node.op in ("Pad", "PadV2")]
        return {"pad_value": _pad_value(graph, evaluator, pads)}
    node = path[resizes[0]]
    pads = [n for n in path[: resizes[0]] if n.op in ("Pad", "PadV2")]
    methods = dict(zip(_RESIZES, ("bilinear", "nearest_neighbor", "bicubic", "area")))
    facts: dict[str, Any] = {
        "method": methods[node.op],
        "half_pixel_centers": bool(node.attr("half_pixel_centers", False)),
    }
    size = evaluator.value(node.inputs[1])
    if size is not None and size.size == 2:
        resized = (int(size[0]), int(size[1]))
        padding = _pad_value(graph, evaluator, pads)
        return {**facts, "kind": "fixed_shape", "size": resized, "resized": resized, "pad_value": padding}
    dimensions = _dimensions(graph, evaluator, node)
    low, high = (min(dimensions), max(dimensions)) if dimensions else (None, None)
    return {
        **facts,
        "kind": "keep_aspect_ratio",
        "min_dimension": low,
        "max_dimension": high,
        "pad_to_max": bool(pads),
        "pad_value": _pad_value(graph, evaluator, pads),
        "size": (high, high) if pads and high else None,
    }


def _dimensions(graph: Graph, evaluator: Evaluator, resize: Node) -> list[int]:
    """The pixel counts that the new size is worked out from, over both branches where there are two."""
    found: set[int] = set()
    todo, seen = [resize.inputs[1]], set()
    while todo:
        ref = todo.pop()
        if node_of(ref) in seen:
            continue
        seen.add(node_of(ref))
        number = scalar(evaluator, ref)
        if number is not None:
            if number >= 8 and number == int(number):
                found.add(int(number))
        elif graph[ref].op not in ("Shape", "TensorArrayReadV3", "TensorListGetItem", "Placeholder"):
            todo.extend(graph[ref].inputs)
    return sorted(found)


def _pad_value(graph: Graph, evaluator: Evaluator, pads: list[Node]) -> Triple:
    """Per-channel values of the margin: the image is padded channel by channel where they differ."""
    if not pads:
        return 0.0, 0.0, 0.0
    stacks = [n for n in graph.consumers(pads[0].name) if n.op == "Pack" and len(n.inputs) == 3]
    channels = [graph[ref] for ref in stacks[0].inputs] if stacks else [pads[0]] * 3
    values = [scalar(evaluator, n.inputs[2]) or 0.0 if n.op == "PadV2" else 0.0 for n in channels]
    return values[0], values[1], values[2]
