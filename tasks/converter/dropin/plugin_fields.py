"""Fields of TensorRT's SSD plugins as a script wrote them into a node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional

from jetlane.tasks.converter.arithmetic import shortest
from jetlane.tasks.converter.graph.graph import Node

GRID_ANCHORS = ("GridAnchor_TRT", "GridAnchorRect_TRT")
FLATTEN, NMS = "FlattenConcat_TRT", "NMS_TRT"

#: How graphsurgeon's suffixes name what the plugins' creators read; a creator refuses a field of another kind.
_KINDS = {"int": "_u_int", "float": "_u_float", "list of floats": "_u_flist", "list of ints": "_u_ilist"}
_SUFFIXES = (*_KINDS.values(), "_u_bool", "_u_str", "")
_ANCHOR_FIELDS = {
    "numLayers": "int",
    **dict.fromkeys(("minSize", "maxSize"), "float"),
    **dict.fromkeys(("aspectRatios", "variance"), "list of floats"),
    "featureMapShapes": "list of ints",
}
_NMS_FIELDS = {
    **dict.fromkeys(("shareLocation", "varianceEncodedInTarget", "backgroundLabelId", "numClasses"), "int"),
    **dict.fromkeys(("topK", "keepTopK", "confSigmoid", "isNormalized", "codeType"), "int"),
    **dict.fromkeys(("isBatchAgnostic", "scoreBits"), "int"),
    **dict.fromkeys(("confidenceThreshold", "nmsThreshold"), "float"),
    "inputOrder": "list of ints",
}
FIELDS = {
    **dict.fromkeys(GRID_ANCHORS, _ANCHOR_FIELDS),
    NMS: _NMS_FIELDS,
    FLATTEN: {"axis": "int", "ignoreBatch": "int"},
}


@dataclass(frozen=True)
class Difference:
    """One number of a script that is not the model's.

    Attributes:
        taste: Another choice rather than a mistake: a threshold, a number of detections.
    """

    node: str
    field: str
    text: str
    taste: bool = False

    def __str__(self) -> str:
        return f"{self.node}: {self.field}: {self.text}"


def field(node: Node, name: str) -> Any:
    """The value of a field, whatever kind it was written as; None where it was not given."""
    for suffix in _SUFFIXES:
        value = node.any_attr(name + suffix)
        if value is not None:
            return value
    return None


def number(node: Node, name: str) -> Optional[float]:
    """A field's number; None where it was not given, or is none."""
    value = field(node, name)
    return float(value) if isinstance(value, (int, float)) else None


def numbers(node: Node, name: str) -> list[float]:
    """A field's numbers, float32 as a person wrote them; none where it was not given."""
    value = field(node, name)
    given = value if isinstance(value, list) else []
    return [shortest(item) for item in given if isinstance(item, (int, float))]


def shown(value: Any) -> str:
    """A value as a script has it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{shortest(value):.6g}" if isinstance(value, (int, float)) else str(value)


def wrong_kinds(node: Node) -> Iterator[Difference]:
    """Fields that were written as another kind than the plugin reads: ``maxSize=1`` for ``maxSize=1.0``."""
    names = set(node.attr_names())
    for name, kind in FIELDS.get(node.op, {}).items():
        written = next((label for label, suffix in _KINDS.items() if name + suffix in names), None)
        if written is None or written == kind:
            continue
        value = field(node, name)
        if "list" in kind and isinstance(value, list):
            right = [float(item) for item in value] if "float" in kind else [round(item) for item in value]
            told = "[" + ", ".join(map(repr, right)) + "]"
        elif isinstance(value, (int, float)):
            told = repr(float(value)) if kind == "float" else repr(round(value)) if kind == "int" else _a(kind)
        else:
            told = _a(kind)
        yield Difference(node.name, name, f"the plugin reads {_a(kind)}, the script gives {_a(written)}: write {told}")


def _a(kind: str) -> str:
    return ("an " if kind == "int" else "a ") + kind
