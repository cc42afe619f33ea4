"""What speaks for each operation we write: boards alone run the UFF parser, so the evidence goes with the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.uff.model import DOCUMENTED, PARSED, SEEN, UNPROVEN, Evidence, UffNode
from jetlane.tasks.converter.uff.parser_faults import from_image

_GOLDEN = "in real UFF files"
_READ = "NVIDIA's parsers of TensorRT 5.1 to 7.2 read it as it is meant"

#: Operations whose every use is judged alike: (status, reason).
_OPERATIONS = {
    **dict.fromkeys(
        ("Input", "Const", "MarkOutput", "BatchNorm", "FullyConnected", "Reshape", "Flatten"), (SEEN, _GOLDEN)
    ),
    **dict.fromkeys(("Squeeze", "ExpandDims", "Transpose", "Shape", "StridedSlice", "Stack"), (SEEN, _GOLDEN)),
    **dict.fromkeys(("_GridAnchor_TRT", "_NMS_TRT", "_FlattenConcat_TRT"), (SEEN, _GOLDEN)),
    **dict.fromkeys(("ConvTranspose", "Pad", "Reduce", "Identity"), (PARSED, _READ)),
    "LeakyRelu": (SEEN, "in real UFF files; TensorRT 5.1 refuses it"),
    **dict.fromkeys(("ArgMax", "ArgMin"), (DOCUMENTED, "TensorRT 6.0 to 7.2 read it as it is meant, 5.1 does not")),
    "_GridAnchorRect_TRT": (
        DOCUMENTED,
        "the plugin is in TensorRT from 8.0 on; its fields are those of _GridAnchor_TRT",
    ),
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
    image = from_image(by_id)
    shapes = {name: shape for name, shape in shapes.items() if name in image}
    collected: dict[tuple[str, str, str], list[str]] = {}
    for node in by_id.values():
        collected.setdefault(_pattern(node, by_id, shapes), []).append(node.id)
    rank = {UNPROVEN: 0, DOCUMENTED: 1, PARSED: 2, SEEN: 3}
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
        return _known(
            f"Pool {fields.get('func')}, {padding} padding", fields.get("func") == "max" and padding == "valid"
        )
    if name == "Binary" and len({shapes.get(source) for source in node.inputs} - {None}) > 1:
        return _known(f"Binary {fields.get('func')} that stretches a feature map", False)
    if name in _SEEN_FUNCS:
        func = fields.get("func", "")
        return _known(f"{name} {func}", func in _SEEN_FUNCS[name])
    if name == "Concat":
        return _known(f"Concat axis {fields.get('axis')}", fields.get("axis") in (2, -1))
    if name == "Reshape" and _fixed_rank(by_id.get(node.inputs[1])) > 4:
        return _known("Reshape to more than 4 dimensions", False)
    if name == "Softmax":
        return _softmax(node, by_id)
    if name == "_NMS_TRT" and any(by_id[i].operation == "Const" for i in node.inputs if i in by_id):
        return _known("_NMS_TRT with constant priors", False)
    status, reason = _OPERATIONS.get(name, (UNPROVEN, "no parser is known to read it"))
    return name, status, reason


def _known(pattern: str, seen: bool) -> tuple[str, str, str]:
    """A pattern that real files have, or that NVIDIA's parsers were seen to read."""
    return (pattern, SEEN, _GOLDEN) if seen else (pattern, PARSED, _READ)


def _softmax(node: UffNode, by_id: dict[str, UffNode]) -> tuple[str, str, str]:
    if tuple(node.fields.get("inputs_orders", ())) == ("NC+",):
        return _known("Softmax, channels first", False)
    if any(by_id[i].operation == "Reshape" for i in node.inputs if i in by_id):
        return "Softmax, channels last", UNPROVEN, "of more than 2 dimensions, TensorRT 7.0 and later misread it"
    return _known("Softmax", True)


def _conv(fields: dict[str, Any], kernel: Optional[UffNode]) -> tuple[str, str, str]:
    layout = fields.get("inputs_orders", ("",))[0]
    if any(int(d) != 1 for d in fields.get("dilation", [])):
        return _known("Conv with dilation above 1", False)
    if "number_groups" in fields:
        weights = kernel.fields.get("values") if kernel is not None else None
        if isinstance(weights, np.ndarray) and weights.shape[3] != 1:
            return _known("Conv with a depth multiplier", False)
        name = "Conv, depthwise"
    else:
        name = "Conv"
    if layout != "N+C":
        return _known(f"{name}, {layout}", False)
    return _known(f"{name}, explicit padding" if "padding" in fields else name, "padding" not in fields)


def _fixed_rank(shape: Optional[UffNode]) -> int:
    if shape is None:
        return 0
    if shape.operation == "Stack":
        return len(shape.inputs)
    values = shape.fields.get("values")
    return int(values.size) if isinstance(values, np.ndarray) else 0
