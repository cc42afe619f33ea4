"""Every key of a spec, as Markdown: ``python -m jetlane.specs.document > docs/spec.md``."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jetlane.specs.schema import RunSpec
from jetlane.specs.section import Section

HEAD = """# The spec

One YAML file describes a run. Unknown keys are errors; `jetlane spec check SPEC.yaml` names every mistake with its line
and column. Paths are relative to the spec's own folder. The shortest spec is a `name` and a `dataset`.

A spec is a regular file in UTF-8 of at most 4 MiB, with at most 100,000 keys and values (aliases replaced by what they
name) in at most 64 levels. Anchors, aliases and `<<` are understood, tags such as `!!python/...` are not. Words are
read as in YAML 1.2, with `yes`/`no`/`on`/`off` as truth values: `007`, `12:30` and dates are text; what is to be text
and looks like a number or a truth value is put in quotes. Numbers are finite and below 2^63. Texts hold no control
characters and no marks of direction; only arguments of commands may have several lines.

This page is made from the schema: `python -m jetlane.specs.document > docs/spec.md`.
"""


def document() -> str:
    """The page's text."""
    return "\n".join([HEAD, *_section("The top level", RunSpec, "")]).replace("``", "`").rstrip() + "\n"


def _section(title: str, model: type[BaseModel], prefix: str) -> Iterator[str]:
    yield f"## {title}\n"
    if prefix:
        yield f"{(model.__doc__ or '').strip()}\n"
    yield "| key | values | default | meaning |\n|---|---|---|---|"
    inner: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        nested = _nested(field.annotation)
        if nested is not None:
            inner.append((f"{prefix}{name}", nested))
            summary = (nested.__doc__ or "").strip().splitlines()[0]
            yield f"| `{prefix}{name}` | section | | {field.description or summary} |"
        else:
            yield f"| `{prefix}{name}` | {_values(field)} | {_default(field)} | {field.description or ''} |"
    yield ""
    for name, nested in inner:
        yield from _section(f"`{name}`", nested, f"{name}.")


def _nested(annotation: Any) -> Optional[type[BaseModel]]:
    """The section that a key holds; None where it may also hold something else."""
    kinds = _members(annotation)
    return kinds[0] if len(kinds) == 1 and _is_section(kinds[0]) else None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _fields_of(kind: Any) -> str:
    return f"{{{', '.join(kind.model_fields)}}}"


def _members(annotation: Any) -> list[Any]:
    """What a union may be, ``Annotated`` taken off, None left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin is Union or origin is getattr(types, "UnionType", None):
        return [member for arg in get_args(annotation) if arg is not type(None) for member in _members(arg)]
    return [annotation]


#: Kinds of single values.
_WORDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


def _values(field: FieldInfo) -> str:
    shown = []
    for kind in _members(field.annotation):
        origin = get_origin(kind)
        if origin is Literal:
            shown.append(_choices(kind))
        elif origin in (list, tuple):
            inner = _members(get_args(kind)[0]) if get_args(kind) else [str]
            nested = get_origin(inner[0]) in (list, tuple)
            named = [_fields_of(one) if _is_section(one) else _single(one) for one in inner if not nested]
            shown.append("list of " + ("lists of text" if nested else " or ".join(named)))
        elif origin is dict:
            shown.append(f"{{text: {' or '.join(_values_of(one) for one in _members(get_args(kind)[1]))}}}")
        elif _is_section(kind):
            shown.append(_fields_of(kind))
        else:
            shown.append(_WORDS.get(kind, getattr(kind, "__name__", str(kind)).lower()))
    return " or ".join(dict.fromkeys(shown)) + _bounds(field.annotation, field.metadata)


def _single(kind: Any) -> str:
    if get_origin(kind) is dict:
        return "a mapping"
    return f"any of {_choices(kind)}" if get_origin(kind) is Literal else _WORDS[kind]


def _choices(kind: Any) -> str:
    return ", ".join(f"`{choice}`" for choice in get_args(kind))


def _values_of(kind: Any) -> str:
    return "list of text" if get_origin(kind) is list else _WORDS.get(kind, "text")


def _bounds(annotation: Any, metadata: list[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = []
    for holder in [*metadata, *_annotations(annotation)]:
        for item in getattr(holder, "metadata", [holder]):
            found += [f"{sign} {getattr(item, key):,}" for key, sign in signs.items() if hasattr(item, key)]
    return f" {', '.join(dict.fromkeys(found))}" if found else ""


def _annotations(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return list(get_args(annotation)[1:])
    if get_origin(annotation) is not None:
        return [item for arg in get_args(annotation) for item in _annotations(arg)]
    return []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default is PydanticUndefined:
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    print(document(), end="")
