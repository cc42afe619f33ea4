"""The events of a YAML parser become plain values, within bounds.

An alias stands for a copy of what it names, so a small file can mean more than any memory holds ("billion laughs"):
what is built is counted, not what is written.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union

import yaml

from jetlane.specs.support import yaml_scalars
from jetlane.specs.support.text import harmless

#: Levels of mappings and lists in each other.
DEEPEST = 64
#: Keys and values, aliases replaced by what they name; and characters of texts among them.
MOST_VALUES = 250_000
MOST_CHARACTERS = 16 << 20

_CORE = "tag:yaml.org,2002:"
_SCALARS = ("str", "int", "float", "bool", "null")
Mark = tuple[int, int]
Maker = Callable[[str], Any]
Location = tuple[Union[str, int], ...]


class Refused(Exception):
    """What a file says cannot be taken.

    Args:
        mark: (line, column), from 1.
    """

    def __init__(self, mark: Mark, what: str, why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.mark, self.what, self.why, self.remedy = mark, what, why, remedy


@dataclass
class _Node:
    """One value as it is written; an alias is the very node that it names."""

    mark: Mark
    value: Any = None
    text: str = ""
    plain: bool = False
    pairs: Optional[list[tuple[_Node, _Node]]] = None
    items: Optional[list[_Node]] = None
    open: bool = False


@dataclass
class BuiltYaml:
    """What was built.

    Attributes:
        data: Mappings, lists, strings, numbers, booleans, None, or what ``tags`` makes.
        keys: (line, column) of each key, by its location.
        values: (line, column) of each value, by its location.
        texts: Numbers, booleans and nothings as they are written, by location.
    """

    data: Any = None
    keys: dict[Location, Mark] = field(default_factory=dict)
    values: dict[Location, Mark] = field(default_factory=dict)
    texts: dict[Location, str] = field(default_factory=dict)


def build(events: Iterator[yaml.Event], tags: Mapping[str, Maker], word: Maker) -> BuiltYaml:
    """Build one document.

    Args:
        tags: Application tags that are known: ``!vault`` -> what makes a value of the word behind it.
        word: Makes a value of a word without quotes and tags; a ValueError of it says why it cannot be used.

    Raises:
        Refused: It is too deep or too large, has a circle, a key twice, a tag, a number out of range, half a character,
            a key that is no word, or a second document.
        yaml.YAMLError: It is not YAML.
    """
    composer = _Composer(events, tags, word)
    top = composer.document()
    built = BuiltYaml(values={(): (1, 1)})
    if top is not None:
        built.data = _Expander(built).plain(top, (), 0)
    return built


def _mark(event: yaml.Event) -> Mark:
    assert event.start_mark is not None
    return event.start_mark.line + 1, event.start_mark.column + 1


class _Composer:
    """Events -> nodes, as they are written."""

    def __init__(self, events: Iterator[yaml.Event], tags: Mapping[str, Maker], word: Maker) -> None:
        self._events, self._tags, self._word = events, tags, word
        self._anchors: dict[str, _Node] = {}
        self._count = 0

    def document(self) -> Optional[_Node]:
        top: Optional[_Node] = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise Refused(_mark(event), "a second document begins here", "", "one file holds one document")
                top = self._node(next(self._events), 0)
        return top

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        mark = _mark(event)
        self._count += 1
        if self._count > MOST_VALUES:
            raise Refused(mark, f"the file holds more than {MOST_VALUES:,} keys and values", "", "divide it")
        if isinstance(event, yaml.AliasEvent):
            return self._named(event.anchor or "", mark)
        node = _Node(mark)
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._anchors[anchor] = node
        node.open = True
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, node)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if depth >= DEEPEST:
                raise Refused(mark, f"lists and mappings stand in each other more than {DEEPEST} levels deep")
            self._collection(event, node, depth + 1)
        node.open = False
        return node

    def _named(self, anchor: str, mark: Mark) -> _Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise Refused(mark, f"the alias *{anchor} names nothing", f"no &{anchor} stands before it")
        if node.open:
            place = "line {}, column {}".format(*node.mark)
            raise Refused(mark, f"the alias *{anchor} is a circle", f"it stands inside of what it names ({place})")
        return node

    def _collection(
        self, start: Union[yaml.MappingStartEvent, yaml.SequenceStartEvent], node: _Node, depth: int
    ) -> None:
        is_mapping = isinstance(start, yaml.MappingStartEvent)
        if start.tag not in (None, "!", _CORE + ("map" if is_mapping else "seq")):
            raise self._unknown(str(start.tag), node.mark)
        node.pairs, node.items = ([], None) if is_mapping else (None, [])
        while not isinstance(event := next(self._events), (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            inner = self._node(event, depth)
            if node.items is not None:
                node.items.append(inner)
            elif node.pairs is not None:
                if inner.pairs is not None or inner.items is not None:
                    raise Refused(inner.mark, "a list or a mapping stands where a key was expected", "", "name a word")
                node.pairs.append((inner, self._node(next(self._events), depth)))

    def _scalar(self, event: yaml.ScalarEvent, node: _Node) -> None:
        node.text = text = event.value
        odd = next((c for c in text if c == "\0" or unicodedata.category(c) == "Cs"), None)
        if odd is not None:
            name = "NUL" if odd == "\0" else f"half a character (the surrogate U+{ord(odd):04X})"
            raise Refused(node.mark, f"this text holds {name}", "no file and no database can keep it")
        tag = event.tag
        node.plain = tag is None and event.implicit[0]
        try:
            if node.plain:
                node.value = self._word(text)
            elif tag in (None, "!"):
                node.value = text
            elif tag in self._tags:
                node.value = self._tags[tag](text)
            elif tag.startswith(_CORE) and tag[len(_CORE) :] in _SCALARS:
                node.value = yaml_scalars.tagged(tag[len(_CORE) :], text)
            else:
                raise self._unknown(tag, node.mark)
        except ValueError as error:
            raise Refused(node.mark, str(error)) from None

    def _unknown(self, tag: str, mark: Mark) -> Refused:
        shown = harmless(tag.replace(_CORE, "!!"), 80)
        return Refused(mark, f"the tag {shown} is not read", "a file gives plain values", "write the value without it")


class _Expander:
    """Nodes -> values, aliases copied and ``<<`` merged."""

    def __init__(self, built: BuiltYaml) -> None:
        self._built = built
        self._count = self._characters = 0

    def plain(self, node: _Node, at: Location, depth: int) -> Any:
        self._counted(node, depth)
        self._built.values[at] = node.mark
        if node.items is not None:
            return [self.plain(item, (*at, index), depth + 1) for index, item in enumerate(node.items)]
        if node.pairs is None:
            if node.plain and not isinstance(node.value, str):
                self._built.texts[at] = node.text
            return node.value
        result: dict[Any, Any] = {}
        for key, (key_node, value_node) in self._pairs(node, depth).items():
            inner = (*at, key)
            self._built.keys[inner] = key_node.mark
            result[key] = self.plain(value_node, inner, depth + 1)
        return result

    def _pairs(self, node: _Node, depth: int) -> dict[Union[str, int], tuple[_Node, _Node]]:
        """A mapping's own pairs, and those it merges where it has no such key itself."""
        own: dict[Union[str, int], tuple[_Node, _Node]] = {}
        merged: dict[Union[str, int], tuple[_Node, _Node]] = {}
        seen: dict[str, Mark] = {}
        for key_node, value_node in node.pairs or ():
            self._counted(key_node, depth)
            if key_node.plain and key_node.text == "<<":
                for source in self._sources(value_node, depth):
                    for key, pair in self._pairs(source, depth + 1).items():
                        merged.setdefault(key, pair)
                continue
            key = _key(key_node)
            if str(key) in seen:
                first = "first in line {}, column {}".format(*seen[str(key)])
                raise Refused(key_node.mark, f"the key {key!r} is given twice", first)
            seen[str(key)] = key_node.mark
            own[key] = (key_node, value_node)
        return {**{key: pair for key, pair in merged.items() if str(key) not in seen}, **own}

    def _sources(self, node: _Node, depth: int) -> list[_Node]:
        sources = [node] if node.items is None else node.items
        for source in sources:
            self._counted(source, depth + 1)
            if source.pairs is None:
                raise Refused(source.mark, "`<<` takes over what is no mapping", "", "name a mapping")
        return sources

    def _counted(self, node: _Node, depth: int) -> None:
        self._count += 1
        self._characters += len(node.text)
        if self._count > MOST_VALUES or self._characters > MOST_CHARACTERS:
            what = f"aliases make more than {MOST_VALUES:,} values of this file, or {MOST_CHARACTERS:,} characters"
            raise Refused(node.mark, what, "each alias stands for a copy of what it names", "write fewer of them")
        if depth > DEEPEST:
            raise Refused(node.mark, f"aliases nest lists and mappings more than {DEEPEST} levels deep")


def _key(node: _Node) -> Union[str, int]:
    """A key as it is written: a device called ``off`` or ``no`` is not the truth value False."""
    if node.plain and type(node.value) is int and str(node.value) == node.text:
        return node.value
    return node.text
