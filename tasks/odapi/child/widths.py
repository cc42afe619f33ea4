"""The widths of a pruned network: how many output channels each of its convolutions has, by scope.

The table lies beside a checkpoint's files and is one of them: whoever builds the checkpoint's network takes it from
there.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from .errors import JobError

SUFFIX = ".widths.json"


@dataclass(frozen=True)
class Widths:
    """A table.

    Attributes:
        kept: Output channels by the convolution's variable scope.
        of: The same of the network before it was ever pruned.
        settings: What it was pruned by last.
    """

    kept: dict[str, int]
    of: dict[str, int]
    settings: dict[str, Any] = field(default_factory=dict)


def beside(checkpoint: Optional[str]) -> Optional[Widths]:
    """The table of a checkpoint (prefix); None where its network was never pruned.

    Raises:
        JobError: It is damaged.
    """
    path = f"{checkpoint}{SUFFIX}"
    if not checkpoint or not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            table = Widths(**json.load(file))
        if not all(isinstance(width, int) and width > 0 for width in table.kept.values()):
            raise ValueError("a width is no number of channels")
        return table
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise JobError(
            f"{path} cannot be read", str(error).split("\n")[0], "it is part of the checkpoint; copy it once more"
        ) from error


def put_beside(table: Optional[Widths], checkpoint: str) -> None:
    """Lay a table beside a checkpoint (prefix); nothing of a network that was never pruned."""
    if table is None:
        return
    path = f"{checkpoint}{SUFFIX}"
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(asdict(table), file, indent=1, sort_keys=True)
    os.replace(path + ".tmp", path)


@contextlib.contextmanager
def applied(table: Optional[Widths]) -> Iterator[Collection[str]]:
    """Graphs that are built meanwhile have these widths.

    All convolutions of the OD API's TF1-style models are TF-slim's, which makes a layer named by its scope. How many
    outputs it has is decided here, beneath all that computes it: depth multipliers, expansions, arg scopes.

    Yields:
        Scopes of the table that no graph has had yet.
    """
    if table is None:
        yield ()
        return
    from tf_slim.layers.layers import convolutional_layers as layers

    missing = dict(table.kept)

    def narrowed(original: Any) -> Any:
        def make(*, filters: int, name: str, **others: Any) -> Any:
            width = table.kept.get(name, filters)
            missing.pop(name, None)
            return original(filters=width, name=name, **others)

        return make

    originals = {name: getattr(layers, name) for name in ("Convolution2D", "SeparableConvolution2D")}
    for name, original in originals.items():
        setattr(layers, name, narrowed(original))
    try:
        yield missing
    finally:
        for name, original in originals.items():
            setattr(layers, name, original)


def refuse_missing(missing: Collection[str]) -> None:
    """Let a network pass that has all layers of its table; it was built."""
    if missing:
        raise JobError(
            "the checkpoint is that of a pruned network of another architecture",
            "this one has no layer {}".format(", ".join(sorted(missing)[:3])),
            "start from a checkpoint of the same architecture",
        )
