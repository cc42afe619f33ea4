"""What reaches the inputs of NMS_TRT: box codes, class scores or priors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Optional

from jetlane.specs.catalogue import entry
from jetlane.specs.errors import ConversionError
from jetlane.tasks.converter.dropin.plugin_fields import GRID_ANCHORS
from jetlane.tasks.converter.graph.graph import Graph, Node, node_of
from jetlane.tasks.converter.graph.ssd import SsdGraph

BOXES, SCORES, PRIORS = "box codes", "class scores", "priors"
_CONCATS = ("Concat", "ConcatV2")
#: TensorRT's own plugin, and what people built of its source under names of their own.
_FLATTENS = "FlattenConcat"
_FORWARDING = ("Identity", "Squeeze", "Reshape", "ExpandDims")


def kinds(graph: Graph, ref: str, ssd: SsdGraph) -> set[str]:
    """What a tensor is made of, by the predictors' outputs and anchor nodes above it."""
    boxes, scores = predictors(ssd)
    found = {
        **dict.fromkeys(boxes, BOXES),
        **dict.fromkeys(scores, SCORES),
        **dict.fromkeys((node.name for node in graph if is_priors(node)), PRIORS),
    }
    return {found[name] for name in data_above(graph, [ref], set(found)) if name in found}


def data_above(graph: Graph, refs: Iterable[str], stop: set[str]) -> set[str]:
    """Names of the nodes that tensors are made of, down to those in ``stop``; not what only a size is read from."""
    found: set[str] = set()
    todo = [node_of(ref) for ref in refs]
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            node = graph[name]
            if name not in stop and node.op != "Shape":
                todo += [node_of(ref) for ref in (node.inputs[:1] if node.op == "Reshape" else node.inputs)]
    return found


def predictors(ssd: SsdGraph) -> tuple[set[str], set[str]]:
    """Names of the nodes that give the box codes and the class logits of each level."""
    return {node_of(head.boxes) for head in ssd.heads}, {node_of(head.classes) for head in ssd.heads}


def is_priors(node: Node) -> bool:
    """Whether a node makes priors, or holds them: [2, numPriors * 4, 1]."""
    if node.op != "Const":
        return node.op in GRID_ANCHORS
    shape = node.value.shape
    return len(shape) >= 2 and shape[0] == 2 and shape[1] % 4 == 0 and shape[1] > 4


def input_order(graph: Graph, nms: Node, ssd: SsdGraph) -> Optional[list[int]]:
    """The inputOrder that fits the node's inputs; None where they are not one of each kind."""
    found = [kinds(graph, ref, ssd) for ref in nms.inputs]
    try:
        return [found.index({kind}) for kind in (BOXES, SCORES, PRIORS)]
    except ValueError:
        return None


def refuse_mixed_concats(graph: Graph, nodes: list[Node], ssd: Optional[SsdGraph]) -> None:
    """Refuse a concatenation that joins what belongs in different inputs of NMS_TRT.

    Raises:
        ConversionError: What TensorRT's parser would refuse, or the plugin would read wrongly.
    """
    for node in nodes:
        flattens = node.op.startswith(_FLATTENS)
        if node.op not in _CONCATS and not flattens:
            continue
        sources = {_source(graph, ref) for ref in _parts(graph, node)}
        priors = {name for name in sources if is_priors(graph[name])}
        made = {kind for name in sources - priors for kind in (kinds(graph, name, ssd) if ssd else ())}
        mixed = bool(priors) and (sources != priors or flattens)
        if mixed or len(made - {PRIORS}) > 1:
            joined = sorted(made | ({PRIORS} if priors else set())) or ["priors", "something else"]
            known = entry("concat-mixed")
            what = f"{node.op} {node.name!r} joins {' and '.join(joined)}: {_some(sources)}"
            raise ConversionError(what, known.cause, known.remedy)


def _parts(graph: Graph, node: Node) -> Iterator[str]:
    """What is joined: all inputs but the axis that TensorFlow's own concatenations read."""
    for ref in node.inputs:
        source = graph[ref]
        if not ref.startswith("^") and not (source.op == "Const" and source.value.size == 1):
            yield ref


def _source(graph: Graph, ref: str) -> str:
    node = graph[ref]
    while node.op in _FORWARDING and node.inputs:
        node = graph[node.inputs[0]]
    return node.name


def _some(names: set[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
