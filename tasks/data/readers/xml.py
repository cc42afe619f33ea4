"""XML label files without surprises: no entities, no other files, a bounded depth, and the line of every element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional
from xml.etree.ElementTree import ParseError

from jetlane.specs.support.files import odd
from jetlane.tasks.data.readers.parsing import Unreadable

_DEEPEST = 50
_CHUNK = 1 << 16
#: Characters within one element of the first level: an image with a hundred thousand outlines.
_MOST_TEXT = 64 << 20


@dataclass
class Element:
    """An element, what is in it, and where it begins (from line 1)."""

    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def first(self, tag: str) -> Optional[Element]:
        """The first child of that name."""
        return next((child for child in self.children if child.tag == tag), None)

    def all(self, tag: str) -> list[Element]:
        """The children of that name."""
        return [child for child in self.children if child.tag == tag]

    def value(self, tag: str) -> Optional[str]:
        """The text of a child, stripped; None where there is no such child."""
        found = self.first(tag)
        return None if found is None else found.text.strip()


class _Builder:
    """What the parser reports, as elements; those of the first level are handed on as they end."""

    def __init__(self) -> None:
        self.parser: Any = None
        self.open: list[Element] = []
        self.texts: list[list[str]] = []
        self.ready: list[Element] = []
        self.root: Optional[Element] = None
        self._size = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.open) >= _DEEPEST:
            raise Unreadable(f"line {self._line()}: elements in more than {_DEEPEST} levels")
        element = Element(tag, dict(attributes), self._line())
        self._count(len(tag) + 100 + sum(len(name) + len(value) for name, value in attributes.items()))
        if self.root is None:
            self.root = element
        elif len(self.open) > 1:
            self.open[-1].children.append(element)
        self.open.append(element)
        self.texts.append([])

    def end(self, tag: str) -> None:
        element = self.open.pop()
        element.text = "".join(self.texts.pop())
        if len(self.open) == 1:
            self.ready.append(element)
            self._size = 0

    def data(self, text: str) -> None:
        self._count(len(text))
        if self.texts:
            self.texts[-1].append(text)

    def close(self) -> None:
        return None

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > _MOST_TEXT:
            raise Unreadable(f"line {self._line()}: one element of more than {_MOST_TEXT >> 20} MiB")

    def _line(self) -> int:
        return int(self.parser.parser.CurrentLineNumber) if self.parser is not None else 0


def root_and_children(path: Path, most: int) -> Iterator[Element]:
    """The root of an XML file, without children, then each of its children as it was read.

    Args:
        most: Bytes of the file.

    Raises:
        Unreadable: No XML, or XML that has entities, refers to other files, or goes beyond the bounds.
    """
    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import DefusedXMLParser

    strange = odd(path, most)
    if strange is not None:
        raise Unreadable(f"it is {strange}, not a file of at most {most:,} bytes")
    builder = _Builder()
    parser = DefusedXMLParser(target=builder, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    builder.parser = parser
    told = False
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                parser.feed(chunk)
                if builder.root is not None and not told:
                    told = True
                    yield builder.root
                yield from builder.ready
                builder.ready.clear()
        parser.close()
    except ParseError as error:
        raise Unreadable(f"it is not valid XML: {error}") from error
    except DefusedXmlException as error:
        raise Unreadable(
            f"it has XML entities or refers to other files, which is refused ({type(error).__name__})"
        ) from error
    except (LookupError, UnicodeError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"it is not valid XML: {error}") from error
    except OSError as error:
        raise Unreadable(f"it cannot be read: {error.strerror}") from error
    yield from builder.ready


def whole_file(path: Path, most: int) -> Element:
    """A small XML file, as its root with everything in it.

    Raises:
        Unreadable: As ``root_and_children``.
    """
    found = list(root_and_children(path, most))
    if not found:
        raise Unreadable("it is empty")
    root = found[0]
    root.children = found[1:]
    return root
