"""Under which name each node of a UFF graph stands in the record of what TensorRT made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

import numpy as np

from jetlane.tasks.converter.uff.model import UffNode
from jetlane.tasks.converter.uff.parser_faults import SeenNode, from_image

Shapes = Mapping[str, Optional[tuple[int, ...]]]

_ANCHORS = ("_GridAnchor_TRT", "_GridAnchorRect_TRT")


def patterns(nodes: Iterable[UffNode], shapes: Shapes) -> dict[str, list[str]]:
    """Ids of the nodes of each pattern: an operation with what is particular about its use.

    Args:
        shapes: Static shapes of nodes, where known.
    """
    by_id = {node.id: node for node in nodes}
    image = from_image(by_id)
    found: dict[str, list[str]] = {}
    for node in by_id.values():
        seen = _Seen(node, by_id, image, shapes)
        named = _NAMES.get(node.operation)
        found.setdefault(node.operation if named is None else named(seen), []).append(node.id)
    return found


class _Seen(SeenNode):
    def values(self, position: int) -> Optional[np.ndarray[Any, Any]]:
        """The constant that is an input of it; None where it is none."""
        names = self.node.inputs[position : position + 1]
        values = self.by_id[names[0]].fields.get("values") if names and names[0] in self.by_id else None
        return values if isinstance(values, np.ndarray) else None

    def sources(self) -> list[str]:
        """Operations of its inputs."""
        return [self.by_id[name].operation for name in self.node.inputs if name in self.by_id]


def _padding(seen: _Seen) -> str:
    fields = seen.node.fields
    return f"{'explicit' if 'padding' in fields else fields.get('implicit_padding', 'valid')} padding"


def _layout(seen: _Seen) -> list[str]:
    layout = seen.node.fields.get("inputs_orders", ("N+C",))[0]
    return [] if layout in ("N+C", "") else [layout]


def _conv(seen: _Seen) -> str:
    fields, kernel = seen.node.fields, seen.values(1)
    parts = ["Conv"]
    if "number_groups" in fields:
        parts.append("depthwise")
        if kernel is not None and kernel.ndim == 4 and kernel.shape[3] != 1:
            parts.append("depth multiplier")
    parts += [_padding(seen), *_layout(seen)]
    if any(int(step) != 1 for step in fields.get("dilation", [])):
        parts.append("dilated")
    return ", ".join(parts)


def _pool(seen: _Seen) -> str:
    return ", ".join([f"Pool {seen.node.fields.get('func')}", _padding(seen), *_layout(seen)])


def _binary(seen: _Seen) -> str:
    name = f"Binary {seen.node.fields.get('func')}"
    constants = [position for position, source in enumerate(seen.node.inputs) if source not in seen.image]
    if len(constants) == len(seen.node.inputs):
        return f"{name} of constants"
    if not constants:
        shapes = {seen.shapes.get(source) for source in seen.node.inputs} - {None}
        return f"{name} that stretches a feature map" if len(shapes) > 1 else f"{name} of two tensors"
    values = seen.values(constants[0])
    shape = seen.shapes.get(seen.node.inputs[constants[0]]) if values is None else values.shape
    single = shape is not None and int(np.prod(shape)) == 1
    return f"{name} with {'a number' if single else 'a number per channel'}"


def _concat(seen: _Seen) -> str:
    if any(source in _ANCHORS for source in seen.sources()):
        return "Concat of anchors"
    return f"Concat axis {seen.node.fields.get('axis')}"


def _reduce(seen: _Seen) -> str:
    axes = ", ".join(str(axis) for axis in sorted(seen.node.fields.get("axes", [])))
    kept = ", dimensions kept" if seen.node.fields.get("keepdims") else ""
    return f"Reduce {seen.node.fields.get('func')} over {axes}{kept}"


def _reshape(seen: _Seen) -> str:
    shape, values = seen.by_id.get(seen.node.inputs[1]), seen.values(1)
    rank = 0 if values is None else int(values.size)
    if shape is not None and shape.operation == "Stack":
        rank = len(shape.inputs)
    return "Reshape to more than 4 dimensions" if rank > 4 else "Reshape"


def _softmax(seen: _Seen) -> str:
    if _layout(seen) == ["NC+"]:
        return "Softmax, channels first"
    flat = len(seen.shapes.get(seen.node.inputs[0]) or ()) == 2
    return "Softmax of 2 dimensions" if flat or "Flatten" in seen.sources() else "Softmax, channels last"


def _pad(seen: _Seen) -> str:
    amounts = seen.values(1)
    whole = amounts is None or amounts.ndim != 2 or bool(np.any(amounts[-1]))
    return "Pad of channels" if whole else "Pad"


def _slice(seen: _Seen) -> str:
    return "StridedSlice of a feature map" if seen.node.inputs[0] in seen.image else "StridedSlice of a shape"


def _stack(seen: _Seen) -> str:
    return "Stack of feature maps" if seen.node.id in seen.image else "Stack"


def _transpose(seen: _Seen) -> str:
    return f"Transpose to {', '.join(str(axis) for axis in seen.node.fields.get('permutation', []))}"


def _nms(seen: _Seen) -> str:
    return "_NMS_TRT with constant priors" if "Const" in seen.sources() else "_NMS_TRT"


def _of_func(seen: _Seen) -> str:
    return f"{seen.node.operation} {seen.node.fields.get('func')}"


_NAMES: dict[str, Callable[[_Seen], str]] = {
    "Activation": _of_func,
    "BatchNorm": lambda seen: ", ".join(["BatchNorm", *_layout(seen)]),
    "Binary": _binary,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": lambda seen: ", ".join(["ConvTranspose", _padding(seen), *_layout(seen)]),
    "Pad": _pad,
    "Pool": _pool,
    "Reduce": _reduce,
    "Reshape": _reshape,
    "Softmax": _softmax,
    "Stack": _stack,
    "StridedSlice": _slice,
    "Transpose": _transpose,
    "Unary": _of_func,
    "_NMS_TRT": _nms,
}
