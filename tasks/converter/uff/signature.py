"""A digest of what a UFF file says to the parser: equal for files that NVIDIA's parser is told the same of."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from jetlane.tasks.converter.uff.model import Uff

#: Significant digits of a number that count: folding rounds the last ones otherwise on another numpy.
_DIGITS = 4


def signature(uff: Uff, weights: bool = True) -> str:
    """16 hexadecimal digits.

    The order of nodes counts, as the parser goes by it; their names do not.

    Args:
        weights: Whether the numbers of floating point constants count; otherwise their shape alone does.
    """
    place = {node.id: index for index, node in enumerate(uff.nodes)}
    said = []
    for node in uff.nodes:
        fields = {key: _plain(value, weights) for key, value in node.fields.items()}
        said.append([node.operation, [place.get(name, -1) for name in node.inputs], fields])
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _plain(value: Any, weights: bool) -> Any:
    if isinstance(value, np.ndarray):
        numbers = value.ravel().tolist() if weights or value.dtype.kind != "f" else []
        return [value.dtype.name, list(value.shape), _plain(numbers, weights)]
    if isinstance(value, (list, tuple)):
        return [_plain(one, weights) for one in value]
    if isinstance(value, float):
        return f"{value + 0.0:.{_DIGITS - 1}e}"
    return value if isinstance(value, (bool, int, str)) or value is None else str(value)
