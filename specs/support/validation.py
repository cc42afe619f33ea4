"""Errors of pydantic become sentences with file, line and column, what was given and what is allowed."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Optional, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from jetlane.specs.errors import SpecError
from jetlane.specs.support.text import harmless
from jetlane.specs.support.yaml_marks import Location, MarkedYaml

#: Mistakes that are listed; of more, their number.
_LISTED = 50
#: (file:line:column, message) of one mistake.
Problem = tuple[Optional[str], str]

_Model = TypeVar("_Model", bound=BaseModel)


def contradiction(at: Location, message: str) -> PydanticCustomError:
    """The error of a validator for a mistake at a key that is not its own."""
    return PydanticCustomError("contradiction", "{message}", {"message": message, "at": list(at)})


def not_allowed(allowed: str) -> PydanticCustomError:
    """The error of a validator that says what is allowed in place of what was given."""
    return PydanticCustomError("not_allowed", "{allowed}", {"allowed": allowed})


def validated(model: type[_Model], marked: MarkedYaml, data: Any, remedy: str, context: Any = None) -> _Model:
    """Make a model of what a file holds.

    Args:
        data: The file's data, or a copy of it with the same keys.
        context: For the model's validators.

    Raises:
        SpecError: Naming every mistake with its place.
    """
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # each member of a union complains, so the same sentence may come twice
        problems = dict.fromkeys(_problem(item, marked, model) for item in found[:_LISTED])
        raise all_of(sorted(problems, key=_position), remedy, len(found[_LISTED:])) from None


def all_of(problems: list[Problem], remedy: str, unlisted: int = 0) -> SpecError:
    """One error that names several mistakes."""
    (where, first), rest = problems[0], problems[1:]
    more = "".join(f"\n{place}: {text}" if place else f"\n{text}" for place, text in rest)
    why = f"{len(problems) + unlisted} mistakes in all" if rest or unlisted else ""
    return SpecError(first + more, why, remedy, where)


def _position(problem: Problem) -> list[int]:
    return [int(number) for number in (problem[0] or "").rsplit(":", 2)[1:]]


def _problem(error: Mapping[str, Any], marked: MarkedYaml, model: type[BaseModel]) -> Problem:
    at: Location = tuple(error["loc"])
    if error["type"] == "contradiction":
        at = tuple(error["ctx"]["at"])
        return marked.where(at, key=True), f"{dotted(at)}: {error['msg']}"
    if at[-1:] == ("[key]",):
        shown = f"the name {given(error['input'])} cannot be used; allowed: {error['msg']}"
        return marked.where(at[:-1], key=True), shown
    at = _known(at, marked, model)
    if error["type"] == "extra_forbidden":
        keys = sorted(_fields(at[:-1], model))
        close = difflib.get_close_matches(str(at[-1]), keys, 1, 0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        return marked.where(at, key=True), f"unknown key {dotted(at)}; {hint}allowed here: {', '.join(keys)}"
    if error["type"] == "missing":
        return marked.where(at[:-1]), f"{dotted(at[:-1])}: the key {at[-1]} is missing"
    if error["type"] == "unfit_text":
        return marked.where(at), f"{dotted(at)}: {error['msg']}"
    own = error["type"] == "not_allowed"
    allowed = str(error["msg"]) if own else _allowed(at, error, model)
    if at in marked.texts and allowed.startswith("text"):
        allowed += f" (put {marked.texts[at] or 'it'} in quotes to make it text)"
    return marked.where(at), f"{dotted(at)}: given {given(error['input'])}, allowed: {allowed}"


def _known(at: Location, marked: MarkedYaml, model: type[BaseModel]) -> Location:
    """A pydantic location without the names of union branches, which are in no file, and without the keys of a section
    that was given as a text."""
    kept: Location = ()
    value = marked.data
    for part in at:
        if not isinstance(value, (Mapping, list)):
            break
        if (*kept, part) in marked.values or part in _fields(kept, model):
            kept = (*kept, part)
            value = _inside(value, part)
    return kept or at


def _inside(value: Any, part: Any) -> Any:
    """What is at a key or an index; an empty mapping where there is nothing."""
    if isinstance(value, Mapping):
        return value.get(part, {})
    return value[part] if isinstance(part, int) and part < len(value) else {}


def _fields(at: Location, model: type[BaseModel]) -> Mapping[str, Any]:
    """The fields of the section at a location."""
    kind: Any = model
    for part in at:
        kind = _child(kind, part)
    section = next((item for item in _members(kind) if isinstance(item, type) and issubclass(item, BaseModel)), None)
    return section.model_fields if section else {}


def _child(annotation: Any, key: Any) -> Any:
    """The type of what stands below a key or an index."""
    for kind in _members(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(key)
            if field is not None:
                return field.annotation
        elif get_origin(kind) in (dict, list, tuple):
            return get_args(kind)[1 if get_origin(kind) is dict else 0]
    return None


def _members(annotation: Any) -> Iterator[Any]:
    """A type without ``Annotated``, and each member of a union."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) is Union:
        for member in get_args(annotation):
            yield from _members(member)
    else:
        yield annotation


@functools.lru_cache(maxsize=4)
def _schema(model: type[BaseModel]) -> Mapping[str, Any]:
    return model.model_json_schema()


def _allowed(at: Location, error: Mapping[str, Any], model: type[BaseModel]) -> str:
    schema = _schema(model)
    node: Mapping[str, Any] = schema
    for part in at:
        node = _follow(node, schema)
        # a section that may be given in short is one of several branches
        node = next((branch for branch in node.get("anyOf", ()) if "properties" in branch), node)
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or node.get("items") or {}
    return _describe(node, schema) or str(error["msg"])


def _follow(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    for branch in (node, *node.get("anyOf", ())):
        if "$ref" in branch:
            found: Mapping[str, Any] = schema["$defs"][branch["$ref"].rsplit("/", 1)[1]]
            return found
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
        keys = ", ".join(node.get("properties", {}))
        return f"a mapping with {keys}" if keys else "a mapping"
    if kind == "array":
        return f"a list of {_describe(node.get('items', {}), schema)}"
    if kind == "boolean":
        return "true or false"
    if kind == "string":
        return f"text ({node['words']})" if "words" in node else "text"  # what a pattern means
    limits = (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    )
    words = {"integer": "a whole number", "number": "a number"}.get(str(kind), "")
    return ", ".join([words, *(f"{text} {node[key]}" for key, text in limits if key in node)])


def given(value: Any) -> str:
    """What stands in a file, for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:  # Python itself may refuse to write it out
        return f"a number of {value.bit_length():,} bits"
    return harmless(repr(value[:200]) + "..." if isinstance(value, str) and len(value) > 200 else repr(value))


def dotted(at: Location) -> str:
    """A location, for a message."""
    return harmless(".".join(str(part) for part in at), 200) or "spec"
