"""A spec file becomes a ``RunSpec``, or one error that names every mistake by file, line and column."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from pydantic import BaseModel, ValidationError

from jetlane.specs import secrets
from jetlane.specs.errors import SpecError
from jetlane.specs.paths import absolute, missing, paths
from jetlane.specs.schema import RunSpec
from jetlane.specs.text import harmless
from jetlane.specs.yaml_marks import Location, MarkedYaml, read

_REMEDY = "correct the spec; `jetlane spec check` shows what it says without running anything"
#: Mistakes that are shown; the rest are counted.
_MOST_SHOWN = 50


def load_spec(path: Path) -> RunSpec:
    """Read a spec; its paths become absolute, starting from ``base_dir`` or else the spec's own folder.

    Raises:
        SpecError: Naming file, line, column, what was given and what is allowed, for every mistake at once.
    """
    marked = read(Path(path))
    if not isinstance(marked.data, Mapping):
        raise SpecError(
            f"a spec is a mapping, this is {_given(marked.data)}", "", "begin with `name: ...`", marked.where(())
        )
    return _checked(marked, Path(path).resolve().parent)


def spec_from_data(data: Mapping[str, Any], folder: Path) -> RunSpec:
    """A spec that was put together in memory (from command-line arguments); relative paths start from ``folder``.

    Raises:
        SpecError: As ``load_spec``, without lines and columns.
    """
    return _checked(MarkedYaml(folder, data), folder)


def _checked(marked: MarkedYaml, folder: Path) -> RunSpec:
    secrets.refuse(marked.data, marked)
    try:
        spec = RunSpec.model_validate(marked.data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        problems = dict.fromkeys(_problem(item, marked) for item in found[:_MOST_SHOWN])  # a union complains per member
        raise _all_of(sorted(problems, key=_position), len(found[_MOST_SHOWN:])) from None
    base_dir = folder / os.path.expanduser(spec.base_dir) if spec.base_dir else folder
    resolved = resolve(spec, base_dir)
    lost = [(found.at, missing(found)) for found in paths(resolved)]
    if any(text for _, text in lost):
        raise _all_of([(marked.where(at), f"{_dotted(at)}: {text}") for at, text in lost if text])
    return resolved


def resolve(spec: RunSpec, base_dir: Optional[Path] = None) -> RunSpec:
    """A copy with absolute paths only; a spec that came as JSON must hold such, or name ``base_dir``.

    Raises:
        SpecError: A path is relative and there is nothing to start from.
    """
    if base_dir is None and spec.base_dir is not None:
        base_dir = Path(spec.base_dir)
        if not base_dir.is_absolute():
            raise SpecError(f"base_dir: given the relative path {spec.base_dir!r}", "", "name an absolute folder")
    if base_dir is not None:
        spec = spec.model_copy(update={"base_dir": str(base_dir)})
    return absolute(spec, base_dir)


def refuse_missing(spec: RunSpec) -> None:
    """Look whether the files that a spec names are on this machine; its paths are absolute.

    Raises:
        SpecError: Naming every one that is not.
    """
    lost: list[tuple[Optional[str], str]] = []
    lost += [(None, f"{_dotted(found.at)}: {text}") for found in paths(spec) if (text := missing(found))]
    if lost:
        raise _all_of(lost)


def _all_of(problems: list[tuple[Optional[str], str]], untold: int = 0) -> SpecError:
    (where, first), rest = problems[0], problems[1:]
    more = "".join(f"\n{place}: {text}" if place else f"\n{text}" for place, text in rest)
    why = f"{len(problems) + untold} mistakes in all" if rest or untold else ""
    return SpecError(first + more, why, _REMEDY, where)


def _position(problem: tuple[Optional[str], str]) -> list[int]:
    return [int(number) for number in (problem[0] or "").rsplit(":", 2)[1:]]


def _problem(error: Mapping[str, Any], marked: MarkedYaml) -> tuple[Optional[str], str]:
    """(file:line:column, message) of one pydantic error."""
    at: Location = tuple(error["loc"])
    if error["type"] == "contradiction":
        at = tuple(error["ctx"]["at"])
        return marked.where(at, key=True), f"{_dotted(at)}: {error['msg']}"
    at = _known(at, marked)
    if error["type"] == "extra_forbidden":
        keys = sorted(_fields(at[:-1]))
        close = difflib.get_close_matches(str(at[-1]), keys, 1, 0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        return marked.where(at, key=True), f"unknown key {_dotted(at)}; {hint}allowed here: {', '.join(keys)}"
    if error["type"] == "missing":
        return marked.where(at[:-1]), f"{_dotted(at[:-1])}: the key {at[-1]} is missing"
    if error["type"] == "unfit_text":
        return marked.where(at), f"{_dotted(at)}: {error['msg']}"
    given, allowed = _given(error["input"]), _allowed(at, error)
    if at in marked.texts and allowed.startswith("text"):
        allowed += f" (put {marked.texts[at] or 'it'} in quotes to make it text)"
    return marked.where(at), f"{_dotted(at)}: given {given}, allowed: {allowed}"


def _known(at: Location, marked: MarkedYaml) -> Location:
    """A pydantic location without the names of union branches, which are in no file."""
    kept: Location = ()
    for part in at:
        if (*kept, part) in marked.values or part in _fields(kept):
            kept = (*kept, part)
    return kept or at


def _fields(at: Location) -> Mapping[str, Any]:
    """The fields of the section at a location."""
    model: Optional[type[BaseModel]] = RunSpec
    for part in at:
        model = _section(model, part) if model else None
    return model.model_fields if model else {}


def _section(model: type[BaseModel], key: Any) -> Optional[type[BaseModel]]:
    from typing import get_args

    field = model.model_fields.get(key)
    if field is None:
        return None
    candidates = (field.annotation, *get_args(field.annotation))
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


@functools.lru_cache(maxsize=1)
def _schema() -> Mapping[str, Any]:
    schema: Mapping[str, Any] = RunSpec.model_json_schema()
    return schema


def _allowed(at: Location, error: Mapping[str, Any]) -> str:
    schema = _schema()
    node: Mapping[str, Any] = schema
    for part in at:
        node = _follow(node, schema)
        node = node.get("properties", {}).get(part) or node.get("items", {})
    return _describe(node, schema) or str(error["msg"])


def _follow(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for branch in (node, *node.get("anyOf", ())):
        if "$ref" in branch:
            return schema["$defs"][branch["$ref"].rsplit("/", 1)[1]]
    return next((branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"), node)


def _describe(node: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in node:
        return " or ".join(_describe(branch, schema) for branch in node["anyOf"] if branch.get("type") != "null")
    if "$ref" in node:
        return _describe(_follow(node, schema), schema)
    if "enum" in node or "const" in node:
        return " or ".join(repr(value) for value in node.get("enum", [node.get("const")]))
    kind = node.get("type")
    if kind == "object":
        return f"a mapping with {', '.join(node.get('properties', {}))}"
    if kind == "array":
        return f"a list of {_describe(node.get('items', {}), schema)}"
    if kind == "boolean":
        return "true or false"
    if kind == "string":
        return f"text matching {node['pattern']}" if "pattern" in node else "text"
    limits = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    words = {"integer": "a whole number", "number": "a number"}.get(str(kind), "")
    return ", ".join([words, *(f"{text} {node[key]}" for key, text in limits if key in node)])


def _given(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:  # what Python itself may refuse to write out
        return f"a number of {value.bit_length():,} bits"
    return harmless(repr(value[:200]) + "..." if isinstance(value, str) and len(value) > 200 else repr(value))


def _dotted(at: Location) -> str:
    return harmless(".".join(str(part) for part in at), 200) or "spec"
