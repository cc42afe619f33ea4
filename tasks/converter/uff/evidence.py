"""What speaks for each operation we write: the UFF parser runs on boards alone, so the evidence goes with the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.uff.model import DOCUMENTED, SEEN, UNPROVEN, Evidence, UffNode

_GOLDEN = "in real UFF files"
_SOURCE = "in NVIDIA's public converter functions; in no real file at hand"

#: Operations whose every use is judged alike: (status, reason).
_OPERATIONS = {
    "Input": (SEEN, _GOLDEN),
    "Const": (SEEN, _GOLDEN),
    "MarkOutput": (SEEN, _GOLDEN),
    "Identity": (DOCUMENTED, "older parsers refuse it"),
    "BatchNorm": (SEEN, _GOLDEN),
    "LeakyRelu": (SEEN, _GOLDEN),
    "FullyConnected": (SEEN, _GOLDEN),
    "Reshape": (SEEN, _GOLDEN),
    "Flatten": (SEEN, _GOLDEN),
    "Squeeze": (SEEN, _GOLDEN),
    "ExpandDims": (SEEN, _GOLDEN),
    "Transpose": (SEEN, _GOLDEN),
    "Stack": (SEEN, _GOLDEN),
    "Shape": (SEEN, _GOLDEN),
    "StridedSlice": (SEEN, _GOLDEN),
    "ConvTranspose": (DOCUMENTED, _SOURCE),
    "Pad": (DOCUMENTED, _SOURCE),
    "Reduce": (DOCUMENTED, _SOURCE),
    "ArgMax": (DOCUMENTED, _SOURCE),
    "ArgMin": (DOCUMENTED, _SOURCE),
    "_GridAnchor_TRT": (SEEN, _GOLDEN),
    "_NMS_TRT": (SEEN, _GOLDEN),
    "_FlattenConcat_TRT": (SEEN, _GOLDEN),
    "_GridAnchorRect_TRT": (DOCUMENTED, "the plugin is public; its fields are those of _GridAnchor_TRT"),
}
_SEEN_FUNCS = {
    "Binary": ("add", "sub", "mul", "div"),
    "Activation": ("relu", "relu6", "tanh"),
    "Unary": ("rsqrt", "sqrt"),
}


def judge(nodes: Iterable[UffNode], shapes: Mapping[str, Optional[tuple[int, ...]]]) -> tuple[Evidence, ...]:
    """The evidence for every pattern of a graph, strongest doubt first.

    Args:
        shapes: Static shapes of nodes, where known.
    """
    by_id = {node.id: node for node in nodes}
    image = _from_image(by_id)
    shapes = {name: shape for name, shape in shapes.items() if name in image}
    collected: dict[tuple[str, str, str], list[str]] = {}
    for node in by_id.values():
        collected.setdefault(_pattern(node, by_id, shapes), []).append(node.id)
    rank = {UNPROVEN: 0, DOCUMENTED: 1, SEEN: 2}
    items = [Evidence(pattern, status, tuple(ids), reason) for (pattern, status, reason), ids in collected.items()]
    return tuple(sorted(items, key=lambda item: (rank[item.status], item.pattern)))


def _pattern(
    node: UffNode, by_id: dict[str, UffNode], shapes: Mapping[str, Optional[tuple[int, ...]]]
) -> tuple[str, str, str]:
    """(pattern, status, reason) of one node."""
    fields, name = node.fields, node.operation
    if name == "Conv":
        return _conv(fields, by_id.get(node.inputs[1]))
    if name == "Pool":
        padding = "explicit" if "padding" in fields else fields.get("implicit_padding", "valid")
        seen = fields.get("func") == "max" and padding == "valid"
        return (
            f"Pool {fields.get('func')}, {padding} padding",
            SEEN if seen else DOCUMENTED,
            _GOLDEN if seen else _SOURCE,
        )
    if name == "Binary" and _stretches(node, shapes):
        return (
            f"Binary {fields.get('func')} that stretches a feature map",
            UNPROVEN,
            "real files stretch constants only",
        )
    if name in _SEEN_FUNCS:
        func = fields.get("func", "")
        return (
            (f"{name} {func}", SEEN, _GOLDEN) if func in _SEEN_FUNCS[name] else (f"{name} {func}", DOCUMENTED, _SOURCE)
        )
    if name == "Concat":
        axis = fields.get("axis")
        return (
            (f"Concat axis {axis}", SEEN, _GOLDEN) if axis in (2, -1) else (f"Concat axis {axis}", DOCUMENTED, _SOURCE)
        )
    if name == "Reshape" and _fixed_rank(by_id.get(node.inputs[1])) > 4:
        return "Reshape to more than 4 dimensions", UNPROVEN, "real files reshape to 3 and 4 dimensions only"
    if name == "Stack" and not _is_shape_arithmetic(node, by_id):
        return "Stack of feature maps", UNPROVEN, "real files stack numbers of a shape only"
    if name == "Softmax" and any(by_id[i].operation == "Reshape" for i in node.inputs if i in by_id):
        return (
            "Softmax of 4 dimensions",
            UNPROVEN,
            "real files apply it to 2; which axis the parser takes of 4 was not seen",
        )
    if name == "Softmax":
        return "Softmax", SEEN, _GOLDEN
    if name == "_NMS_TRT" and any(by_id[i].operation == "Const" for i in node.inputs if i in by_id):
        return (
            "_NMS_TRT with constant priors",
            DOCUMENTED,
            "constants are seen as plugin inputs, and their shapes exclude the batch; none of priors is in a real file",
        )
    status, reason = _OPERATIONS.get(name, (UNPROVEN, "no parser is known to read it"))
    return name, status, reason


def _conv(fields: dict[str, Any], kernel: Optional[UffNode]) -> tuple[str, str, str]:
    layout = fields.get("inputs_orders", ("",))[0]
    if any(int(d) != 1 for d in fields.get("dilation", [])):
        return "Conv with dilation above 1", UNPROVEN, "real files have dilation 1 only"
    if "number_groups" in fields:
        weights = kernel.fields.get("values") if kernel is not None else None
        if isinstance(weights, np.ndarray) and weights.shape[3] != 1:
            return "Conv with a depth multiplier", UNPROVEN, "real files have one output per channel only"
        name = "Conv, depthwise"
    else:
        name = "Conv"
    if layout != "N+C":
        return f"{name}, {layout}", DOCUMENTED, _SOURCE
    if "padding" in fields:
        return f"{name}, explicit padding", DOCUMENTED, _SOURCE
    return name, SEEN, _GOLDEN


def _from_image(by_id: dict[str, UffNode]) -> set[str]:
    """Ids of nodes whose values depend on an input. Others are constants, such as those that make up a batch norm."""
    readers: dict[str, list[str]] = {}
    for node in by_id.values():
        for source in node.inputs:
            readers.setdefault(source, []).append(node.id)
    found: set[str] = set()
    todo = [node.id for node in by_id.values() if node.operation == "Input"]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += readers.get(name, [])
    return found


def _stretches(node: UffNode, shapes: Mapping[str, Optional[tuple[int, ...]]]) -> bool:
    """True where two tensors of different shapes meet, both computed from the image."""
    return len({shapes.get(source) for source in node.inputs} - {None}) > 1


def _fixed_rank(shape: Optional[UffNode]) -> int:
    if shape is None:
        return 0
    if shape.operation == "Stack":
        return len(shape.inputs)
    values = shape.fields.get("values")
    return int(values.size) if isinstance(values, np.ndarray) else 0


def _is_shape_arithmetic(node: UffNode, by_id: dict[str, UffNode]) -> bool:
    return all(by_id[i].operation in ("Const", "StridedSlice") for i in node.inputs if i in by_id)
