"""A protobuf text whose braces do not match: which block was left open, and where.

A parser meets a missing brace later, as a field that the open block does not have. That the field belongs to a block
around it tells which one was not closed; where the file is indented, so does a brace that stands further left than the
block it would close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from jetlane.specs.support.text import harmless
from jetlane.tasks.converter.ssd.places import Token, tokens


@dataclass(frozen=True)
class BraceFault:
    """What is wrong, why that is thought, what to do; and where, from 1."""

    what: str
    why: str
    remedy: str
    line: int
    column: int


@dataclass(frozen=True)
class _Block:
    """A block that is open.

    Attributes:
        opener: Its name.
        message: Descriptor of its message; None where it is not known.
        indent: Column of the first token of its line.
    """

    opener: Token
    message: Any
    indent: int


def brace_fault(text: str, message: Any) -> Optional[BraceFault]:
    """The first brace that is missing or too many; None where the braces match as far as can be told.

    Args:
        message: Descriptor of the whole text's message.
    """
    stack: list[_Block] = []
    suspect: Optional[tuple[_Block, Token]] = None
    surplus: Optional[Token] = None
    closed: Optional[tuple[_Block, Token]] = None
    name = last = Token("name", "", 1, 1)
    indent = 1
    for token in tokens(text):
        starts_line = token.line != last.line or not last.text
        indent = token.column if starts_line else indent
        if token.kind == "name":
            owner = _owner(stack, message, token.text)
            if owner is not None:
                return _missing(*(suspect or (stack[owner], token)))
            if closed is not None and _belongs(stack, message, closed[0], token.text):
                return _too_many(surplus or closed[1])
            name = token
        elif token.kind == "open":
            stack.append(_Block(name, _message_of(stack[-1].message if stack else message, name.text), indent))
        elif token.kind == "close":
            if not stack:
                return _too_many(surplus or token)
            block = stack.pop()
            closed = (block, token)
            if starts_line and token.line != block.opener.line:
                if token.column < block.indent and suspect is None:
                    suspect = (block, token)
                elif token.column > block.indent and surplus is None:
                    surplus = token
        last = token
    if stack:
        return _missing(*(suspect or (stack[-1], None)))
    return None


def _owner(stack: list[_Block], message: Any, name: str) -> Optional[int]:
    """The outermost open block that has to be closed before a field can stand here; None where the field fits."""
    if not stack or stack[-1].message is None or name in stack[-1].message.fields_by_name:
        return None
    for place in reversed(range(len(stack))):
        around = stack[place - 1].message if place else message
        if around is not None and name in around.fields_by_name:
            return place
    return None


def _belongs(stack: list[_Block], message: Any, closed: _Block, name: str) -> bool:
    """Whether a field that does not fit here fits the block that was closed last."""
    here = stack[-1].message if stack else message
    if here is None or closed.message is None or name in here.fields_by_name:
        return False
    return name in closed.message.fields_by_name


def _too_many(brace: Token) -> BraceFault:
    return BraceFault(
        "there is one closing brace too many",
        "it closes a block before its end, or none is open there",
        "remove it, or add the opening one",
        brace.line,
        brace.column,
    )


def _message_of(message: Any, field: str) -> Any:
    found = message.fields_by_name.get(field) if message is not None else None
    return found.message_type if found is not None else None


def _missing(block: _Block, before: Optional[Token]) -> BraceFault:
    opener = block.opener
    what = f"the block `{harmless(opener.text)} {{` of line {opener.line} is not closed"
    if before is None:
        why, line, column = "the file ends inside it: a closing brace is missing", opener.line, opener.column
    else:
        shown = harmless(before.text)
        line, column = before.line, before.column
        why = f"a closing brace is missing before `{shown}` in line {line}, which belongs to a block around it"
    return BraceFault(what, why, "add the closing brace", line, column)
