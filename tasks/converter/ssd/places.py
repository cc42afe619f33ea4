"""Protobuf text as tokens, and the places of its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
      | (?P<open>[{<]) | (?P<close>[}>]) | (?P<colon>:) | (?P<bracket>[\[\]])
      | (?P<word>[^\s,;:{}<>\[\]\#"']+)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A word of the text.

    Attributes:
        kind: ``string``, ``open``, ``close``, ``colon``, ``bracket``, ``name`` (of a field) or ``word`` (its value).
        line, column: Where it begins, from 1.
    """

    kind: str
    text: str
    line: int
    column: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a protobuf text, without spaces and comments."""
    valued = False
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, token = str(match.lastgroup), match.group()
        if kind != "skip":
            named = kind == "word" and not valued
            yield Token("name" if named else kind, token, line, match.start() - line_start + 1)
            if kind == "colon":
                valued = True
            elif kind in ("open", "close") or (kind in ("word", "string") and not named):
                valued = False
        line += token.count("\n")
        if "\n" in token:
            line_start = match.start() + token.rindex("\n") + 1


def places(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """(dotted name, (line, column)) of each field, last occurrence first, so that a dict keeps the first."""
    found: list[tuple[str, tuple[int, int]]] = []
    scope: list[str] = []
    name = ""
    for token in tokens(text):
        if token.kind == "name":
            name = token.text
            found.append((".".join([*scope, name]), (token.line, token.column)))
        elif token.kind == "open":
            scope.append(name)
        elif token.kind == "close" and scope:
            scope.pop()
    return reversed(found)
