"""JSON files of whole data sets, item by item, so that memory is bounded by the largest item and not by the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.support.files import odd
from jetlane.tasks.data.readers.parsing import LARGE, Unreadable

_CHUNK = 1 << 20
#: Characters of one item of a list.
_MOST_ITEM = 64 << 20
_SPACE = " \t\r\n"


def items(path: Path, most: int = LARGE) -> Iterator[tuple[str, Any]]:
    """(key, item) of every list in the object that a file holds, (key, value) of what is no list; or of a file that is
    one list: ("", item).

    Raises:
        Unreadable: No JSON; says at which character.
    """
    strange = odd(path, most)
    if strange is not None:
        raise Unreadable(f"it is {strange}, not a file of at most {most:,} bytes")
    try:
        with open(path, encoding="utf-8-sig") as file:
            yield from _Stream(file).top()
    except UnicodeDecodeError as error:
        raise Unreadable(f"it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error


class _Stream:
    def __init__(self, file: Any) -> None:
        self.file = file
        self.buffer = ""
        self.at = 0
        self.before = 0
        self.lines = 1
        self.ended = False
        self.decoder = json.JSONDecoder()

    def top(self) -> Iterator[tuple[str, Any]]:
        first = self.peek()
        if first == "[":
            yield from (("", item) for item in self.list())
        elif first == "{":
            yield from self.object()
        else:
            raise self.wrong("it is no JSON object or list")
        if self.peek() is not None:
            raise self.wrong("more follows after the end")

    def object(self) -> Iterator[tuple[str, Any]]:
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            key = self.value()
            if not isinstance(key, str):
                raise self.wrong("a key is no text")
            self.take(":")
            if self.peek() == "[":
                yield from ((key, item) for item in self.list())
            else:
                yield key, self.value()
            if self.peek() != ",":
                break
            self.take(",")
        self.take("}")

    def list(self) -> Iterator[Any]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            yield self.value()
            if self.peek() != ",":
                break
            self.take(",")
        self.take("]")

    def peek(self) -> Optional[str]:
        """The next character that is no space; None at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return None

    def take(self, wanted: str) -> None:
        found = self.peek()
        if found != wanted:
            what = "the file ends" if found is None else f"{found!r} stands"
            raise self.wrong(f"{what} where {wanted!r} should be")
        self.at += 1

    def value(self) -> Any:
        """The next value; more is read until it is whole."""
        if self.peek() is None:
            raise self.wrong("the file ends")
        while True:
            try:
                found, end = self.decoder.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if self.more():
                    continue
                self.at = min(error.pos, len(self.buffer))
                raise self.wrong(error.msg) from error
            except (RecursionError, ValueError) as error:  # too deep; a number of thousands of digits
                raise self.wrong("nested too deeply, or a number without end") from error
            # a number at the end of what was read may go on
            if end == len(self.buffer) and not self.ended and isinstance(found, (int, float)) and self.more():
                continue
            self.at = end
            return found

    def more(self) -> bool:
        if self.ended:
            return False
        if self.at > _CHUNK:
            self.lines += self.buffer.count("\n", 0, self.at)
            self.buffer, self.at = self.buffer[self.at :], 0
        if len(self.buffer) - self.at > _MOST_ITEM:
            raise self.wrong(f"one item has more than {_MOST_ITEM >> 20} MiB")
        chunk = self.file.read(max(_CHUNK, len(self.buffer) - self.at))
        self.buffer += chunk
        self.ended = not chunk
        return bool(chunk)

    def wrong(self, why: str) -> Unreadable:
        line = self.lines + self.buffer.count("\n", 0, self.at)
        return Unreadable(f"it is not valid JSON: line {line}: {why}")
