"""``train.sweep``: the variants of a training that a spec asks to be compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Union

from pydantic import ValidationError

from jetlane.specs.support.text import harmless

if TYPE_CHECKING:
    from jetlane.specs.schema import RunSpec

#: Variants of one sweep: a grid grows fast.
MOST = 64
#: Keys that say what is best, hold paths, or are for what comes after.
_COMMON = ("sweep", "metric", "python", "fine_tune_checkpoint", "start_from", "prune")


def variants(spec: RunSpec) -> Iterator[tuple[str, RunSpec]]:
    """Each variant of a spec that was checked, in order: (what it changes, in words; the spec with that alone)."""
    for words, made in tried(spec):
        if isinstance(made, ValidationError):
            raise made
        yield words, made


def tried(spec: RunSpec) -> Iterator[tuple[str, Union[RunSpec, ValidationError]]]:
    """The same, with the error of each that is no train section, or does not go with the rest of the spec."""
    asked = spec.train.sweep or []
    for changes in _grid(asked) if isinstance(asked, Mapping) else asked:
        given = spec.model_dump(exclude_unset=True)
        given["train"] = {**{key: value for key, value in given["train"].items() if key != "sweep"}, **changes}
        try:
            yield _words(changes), type(spec).model_validate(given)
        except ValidationError as error:
            yield _words(changes), error


def count(asked: Any) -> int:
    """How many variants a sweep has."""
    if not isinstance(asked, Mapping):
        return len(asked)
    number = 1
    for values in asked.values():
        number *= len(values)
    return number


def wrong_keys(asked: Any) -> list[str]:
    """Keys of variants that cannot differ between them."""
    named = asked if isinstance(asked, Mapping) else [key for changes in asked for key in changes]
    return sorted({key for key in named if key in _COMMON})


def _grid(asked: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*asked.values()):
        yield dict(zip(asked, values))


def _words(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {harmless(str(value), 60)}" for key, value in changes.items()) or "as it is"
