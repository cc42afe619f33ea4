"""docs/reference/python.md: what ``import jetlane`` offers, of signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import jetlane

HEAD = """# Python API

What `import jetlane` offers; [the library](../library.md) shows it in use. Programs on a board import `jetlane_runtime`
from the release instead ([your own program](../runtime.md)).

This page is made from the code: `python -m tests.pages.write`.
"""


def document() -> str:
    """The page's text."""
    parts = [HEAD]
    for name in jetlane.__all__:
        if name.startswith("__"):
            continue
        found = getattr(jetlane, name)
        parts.append("\n".join(_class(name, found) if inspect.isclass(found) else _function(name, found, 2)))
    return "\n".join(parts).rstrip() + "\n"


def _function(name: str, found: Any, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} {name}\n"
    yield f"```python\n{name}{_signature(found)}\n```\n"
    yield from _docstring(found)


def _class(name: str, found: type) -> Iterator[str]:
    yield f"## {name}\n"
    yield from _docstring(found)
    for member, value in vars(found).items():
        if member.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"`{name}.{member}`: {_first(value.fget)}\n"
        elif inspect.isfunction(value) or isinstance(value, (classmethod, staticmethod)):
            function = value if inspect.isfunction(value) else value.__func__
            yield f"```python\n{name}.{member}{_signature(function)}\n```\n"
            yield from _docstring(function)


def _signature(found: Any) -> str:
    text = str(inspect.signature(found))
    short = text.replace("'", "").replace("typing.", "").replace("pathlib._local.", "").replace("pathlib.", "")
    if len(short) < 90:
        return short
    inner, _, result = short[1:].rpartition(")")
    depth, parts, current = 0, [], ""
    for letter in inner:
        depth += (letter in "[({") - (letter in "])}")
        if letter == "," and depth == 0:
            parts.append(current.strip())
            current = ""
        else:
            current += letter
    parts.append(current.strip())
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _first(function: Any) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


def _docstring(found: Any) -> Iterator[str]:
    """Sections such as ``Args:`` become lists."""
    listed = False
    for line in (inspect.getdoc(found) or "").replace("``", "`").splitlines():
        if line.rstrip(":") in ("Args", "Attributes", "Returns", "Raises") and line.endswith(":"):
            listed = True
            yield f"**{line.rstrip(':')}**\n"
        elif listed and line.startswith("    ") and not line.startswith("     "):
            head, colon, rest = line.strip().partition(": ")
            named = colon and "`" not in head
            yield f"* `{head}`: {rest}" if named else f"* {line.strip()}"
        elif listed and line.strip():
            yield f"  {line.strip()}"
        else:
            listed = False
            yield line
    yield ""
