"""Operations in the forms that every UFF parser of NVIDIA's, from TensorRT 5.1 to 8.6, reads as TensorFlow means them.

The parser works on [C, H, W] while UFF speaks of [N, H, W, C], and it misreads or refuses some operations for that: see
docs/uff.md, and ``misread`` for what has no such form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Optional

import numpy as np

from jetlane.specs.errors import GraphError
from jetlane.tasks.converter.arithmetic import affine
from jetlane.tasks.converter.graph.evaluate import Evaluator
from jetlane.tasks.converter.graph.graph import FLOAT, Graph, Node, const, node_of
from jetlane.tasks.converter.graph.rewrites import Applied
from jetlane.tasks.converter.graph.shape_ops import Shape, channels_first
from jetlane.tasks.converter.uff.slice_forms import sliced

Array = np.ndarray[Any, Any]
Step = Callable[[Graph, Node, Evaluator], bool]

#: Where each axis of [N, H, W, C] goes in [N, C, H, W], and back.
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def fit_parser(graph: Graph, outputs: Iterable[str], inputs: Mapping[str, Shape]) -> tuple[Applied, ...]:
    """Rewrite what the outputs depend on, as far as shapes are known.

    Args:
        inputs: Shapes of the graph's inputs, in TensorFlow's order.
    """
    ends = list(outputs)
    applied = []
    for operations, step, name, note in _STEPS:
        evaluator = Evaluator(graph, inputs)
        needed = graph.ancestors(ends)
        found = [node for node in graph.of(*operations) if node.name in needed]
        count = sum(_changes(step, graph, node, evaluator) for node in found)
        applied.append(Applied(name, count, note))
    return tuple(applied)


def _changes(step: Step, graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    try:
        return step(graph, node, evaluator)
    except GraphError:  # its shapes contradict each other: it is written as it stands
        return False


def add_softmax(graph: Graph, name: str, logits: str) -> str:
    """Add a softmax over the last of four axes, and return its name.

    The parsers of 5.1 and 6.0 take ``inputs_orders`` for the channels' place, those of 7.0 and later neither that nor
    ``axis``: they take the first axis after the batch. So the channels are brought there, and back afterwards.
    """
    first = _add_transpose(graph, f"{name}/channels_first", logits, _TO_FIRST)
    scores = graph.add(Node(f"{name}/scores", "Softmax", [first], {"data_format": "NCHW"})).name
    return _add_transpose(graph, name, scores, _TO_LAST)


def _add_transpose(graph: Graph, name: str, data: str, order: tuple[int, ...]) -> str:
    permutation = graph.add(const(f"{name}/permutation", np.array(order, np.int32))).name
    return graph.add(Node(name, "Transpose", [data, permutation])).name


def add_batch_size(graph: Graph, scope: str, tensor: str) -> str:
    """Add the batch size, read from a tensor as real files read it, and return its name."""
    shape = graph.add(Node(graph.unused_name(f"{scope}/Shape"), "Shape", [tensor])).name
    prefix = graph.unused_name(f"{scope}/strided_slice")
    bounds = [
        graph.add(const(f"{prefix}/{part}", np.array([value], np.int32))).name
        for part, value in (("stack", 0), ("stack_1", 1), ("stack_2", 1))
    ]
    return graph.add(Node(prefix, "StridedSlice", [shape, *bounds], {"shrink_axis_mask": 1})).name


def add_reshape(graph: Graph, name: str, data: str, batch: str, sizes: tuple[int, ...]) -> str:
    """Reshape to [batch, *sizes]; all sizes are constants, as the parser refuses a second -1."""
    numbers = [graph.add(const(f"{name}/shape/{i}", np.array(size, np.int32))).name for i, size in enumerate(sizes, 1)]
    stack = graph.add(Node(f"{name}/shape", "Pack", [batch, *numbers], {"axis": 0})).name
    return graph.add(Node(name, "Reshape", [data, stack])).name


def _positive_axis(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """The parser counts no axis from the end."""
    given = node.attr("axis")
    value = evaluator.value(node.inputs[-1]) if given is None else np.asarray(given)
    shape = evaluator.fact(node.inputs[0]).shape
    if value is None or value.size != 1 or value.item() >= 0 or shape is None:
        return False
    axis = int(value.item()) + len(shape)
    if given is not None:
        graph.add(Node(node.name, node.op, node.inputs, {"axis": axis}))
    else:
        wanted = graph.add(const(graph.unused_name(f"{node.name}/axis"), np.array(axis, np.int32))).name
        graph.add(Node(node.name, node.op, [*node.inputs[:-1], wanted]))
    return True


def _constant_side(node: Node, evaluator: Evaluator) -> Optional[tuple[str, Array, bool]]:
    """(data, the constant as float32 [] or [C], whether it comes first) of an operation with one number per channel."""
    if len(node.inputs) != 2:
        return None
    values = [evaluator.value(ref) for ref in node.inputs]
    if (values[0] is None) == (values[1] is None):
        return None
    first = values[0] is not None
    data, constant = node.inputs[int(first)], values[0] if first else values[1]
    shape = evaluator.fact(data).shape
    if constant is None or not shape or affine("add", constant, shape[-1], constant_first=first) is None:
        return None
    return data, constant.reshape(-1 if constant.size > 1 else ()).astype(np.float32), first


def _clamped(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """max(x, c) = relu(x - c) + c; min(x, c) = c - relu(c - x)."""
    side = _constant_side(node, evaluator)
    if side is None:
        return False
    data, constant, _ = side
    number = graph.add(const(graph.unused_name(f"{node.name}/bound"), constant)).name
    prefix = graph.unused_name(f"{node.name}/clamp")
    if node.op == "Maximum":
        over = graph.add(Node(f"{prefix}/over", "Sub", [data, number], {"T": FLOAT})).name
        rest = graph.add(Node(f"{prefix}/relu", "Relu", [over], {"T": FLOAT})).name
    else:
        negated = _add_negated(graph, f"{prefix}/negated", data)
        room = graph.add(Node(f"{prefix}/room", "Add", [negated, number], {"T": FLOAT})).name
        relu = graph.add(Node(f"{prefix}/relu", "Relu", [room], {"T": FLOAT})).name
        rest = _add_negated(graph, f"{prefix}/less", relu)
    graph.add(Node(node.name, "Add", [rest, number], {"T": FLOAT}))
    return True


def _add_negated(graph: Graph, name: str, data: str) -> str:
    minus = graph.add(const(f"{name}/factor", np.array(-1, np.float32))).name
    return graph.add(Node(name, "Mul", [data, minus], {"T": FLOAT})).name


def _subtracted(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """c - x = -x + c: a constant is subtracted, never subtracted from."""
    side = _constant_side(node, evaluator)
    if side is None or not side[2]:
        return False
    data, constant, _ = side
    number = graph.add(const(graph.unused_name(f"{node.name}/constant"), constant)).name
    negated = _add_negated(graph, graph.unused_name(f"{node.name}/negated"), data)
    graph.add(Node(node.name, "Add", [negated, number], {"T": FLOAT}))
    return True


def _softmax(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    shape = evaluator.fact(node.inputs[0]).shape
    if channels_first(node) or shape is None or len(shape) not in (3, 4):
        return False
    if len(shape) == 4:
        add_softmax(graph, node.name, node.inputs[0])
        return True
    batch = add_batch_size(graph, node.name, node.inputs[0])
    wide = add_reshape(graph, f"{node.name}/wide", node.inputs[0], batch, (shape[1], 1, shape[2]))
    add_reshape(graph, node.name, add_softmax(graph, f"{node.name}/softmax", wide), batch, shape[1:])
    return True


def _expanded(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """The parser does not know the order of the dimensions behind an ExpandDims."""
    shape = evaluator.fact(node.name).shape
    if evaluator.value(node.inputs[0]) is not None or shape is None:
        return False
    add_reshape(graph, node.name, node.inputs[0], add_batch_size(graph, node.name, node.inputs[0]), shape[1:])
    return True


def _padded_apart(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """Rows and channels in one Pad are mixed up, and three axes are refused: channels have a Pad of their own."""
    amounts = evaluator.value(node.inputs[1])
    if evaluator.value(node.inputs[0]) is not None or amounts is None or amounts.shape != (4, 2):
        return False
    if not np.any(amounts[3]) or not np.any(amounts[:3]):
        return False
    data = node.inputs[0]
    for name, kept in ((graph.unused_name(f"{node.name}/pixels"), slice(0, 3)), (node.name, slice(3, 4))):
        some = np.zeros_like(amounts)
        some[kept] = amounts[kept]
        given = graph.add(const(graph.unused_name(f"{name}/amounts"), some)).name
        data = graph.add(Node(name, "Pad", [data, given])).name
    return True


def _whole_map(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """A mean over a map is a pooling of it, which re-orders nothing."""
    shape, axes = evaluator.fact(node.inputs[0]).shape, evaluator.value(node.inputs[1])
    keep = bool(node.attr("keep_dims", node.attr("keepdims", False)))
    if evaluator.value(node.inputs[0]) is not None or shape is None or axes is None or len(shape) != 4 or not keep:
        return False
    if {int(axis) % 4 for axis in np.atleast_1d(axes)} != {1, 2}:
        return False
    window = {"ksize": [1, *shape[1:3], 1], "strides": [1, 1, 1, 1], "padding": "VALID", "data_format": "NHWC"}
    graph.add(Node(node.name, "AvgPool", [node.inputs[0]], {**window, "T": FLOAT}))
    return True


def _in_map_order(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """What Reduce gives keeps its channels last, which a Binary does not notice; a pooling puts them first again."""
    shape = evaluator.fact(node.name).shape
    if evaluator.value(node.inputs[0]) is not None or shape is None or len(shape) != 4:
        return False
    reduced = graph.unused_name(f"{node.name}/reduced")
    attributes = {key: node.any_attr(key) for key in node.attr_names()}
    graph.add(Node(reduced, node.op, node.inputs, attributes))
    window = {"ksize": [1, 1, 1, 1], "strides": [1, 1, 1, 1], "padding": "VALID", "data_format": "NHWC"}
    graph.add(Node(node.name, "AvgPool", [reduced], {**window, "T": FLOAT}))
    return True


def _constant_second(graph: Graph, node: Node, evaluator: Evaluator) -> bool:
    """Behind a constant that stands first the parser does not know the order of the dimensions."""
    source = graph[node.inputs[0]]
    if source.op not in ("Add", "AddV2", "Mul") or [graph[ref].op == "Const" for ref in source.inputs] != [True, False]:
        return False
    graph.add(Node(source.name, source.op, source.inputs[::-1]))
    return True


_STEPS: tuple[tuple[tuple[str, ...], Step, str, str], ...] = (
    (("ConcatV2",), _positive_axis, "axes", "axes of concatenations counted from the first"),
    (("Minimum", "Maximum"), _clamped, "bounds", "minima and maxima with constants made of Relu"),
    (("Sub",), _subtracted, "subtractions", "subtractions from constants made additions"),
    (("Softmax",), _softmax, "softmax", "softmaxes given their channels first"),
    (("ExpandDims",), _expanded, "dimensions", "added dimensions made by Reshape"),
    (("Pad",), _padded_apart, "paddings", "paddings of channels apart from those of pixels"),
    (("StridedSlice",), sliced, "slices", "slices of feature maps made convolutions with a single one"),
    (("Mean",), _whole_map, "means", "means over a whole map made poolings"),
    (
        ("Mean", "Sum", "Prod", "Max", "Min"),
        _in_map_order,
        "reductions",
        "reductions of maps followed by a pooling of 1x1",
    ),
    (("Transpose",), _constant_second, "operands", "constants put second in what is transposed"),
)


def image_shapes(graph: Graph) -> dict[str, Shape]:
    """Shapes of the placeholders as the network sees them, NHWC: an SSD's Input is declared [1, 3, H, W]."""
    shapes: dict[str, Shape] = {}
    for node in graph.of("Placeholder"):
        shape = node.attr("shape")
        if shape is None or len(shape) != 4:
            continue
        sizes = (shape[0], shape[2], shape[3], shape[1]) if shape[1] in (1, 3) and shape[3] not in (1, 3) else shape
        if all(size > 0 for size in sizes[1:]):
            shapes[node_of(node.name)] = (max(1, sizes[0]), *sizes[1:])
    return shapes
