"""YAML with positions: plain values, and the line and column of every key and value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import yaml

from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import MIB, FileKind, position, read_text
from jetlane.specs.support.yaml_build import Location, Mark, Refused, build
from jetlane.specs.support.yaml_scalars import plain

__all__ = ["YAML", "Location", "MarkedYaml", "parse", "read"]

YAML = FileKind("a YAML file", 4 * MIB, SpecError, "name a YAML file in UTF-8")
#: libyaml is ten times as fast; wheels of PyYAML have it.
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: What YAML allows in a file.
_UNPRINTABLE = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: Lines such as ``%TAG``; parsers compare each with all before it.
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_MOST_DIRECTIVES = 16


@dataclass
class MarkedYaml:
    """A parsed file.

    Attributes:
        path: The file, as the person named it.
        data: Mappings, lists, strings, finite numbers, booleans, None; keys are text, or whole numbers written as such.
        keys: (line, column) of each key, by its location; both count from 1.
        values: (line, column) of each value, by its location; ``()`` is the document.
        texts: Numbers, booleans and nothings as they are written (``1.10``, ``yes``), by location.
    """

    path: Path
    data: Any = None
    keys: dict[Location, Mark] = field(default_factory=dict)
    values: dict[Location, Mark] = field(default_factory=dict)
    texts: dict[Location, str] = field(default_factory=dict)

    def where(self, location: Location, key: bool = False) -> Optional[str]:
        """``file:line:column`` of a key or value, or of the nearest thing around it; None for data from no file."""
        if not self.values:
            return None
        at = tuple(location)
        if key and at in self.keys:
            return self._format(self.keys[at])
        while at and at not in self.values:
            at = at[:-1]
        mark = self.keys.get(at) if at != tuple(location) else self.values.get(at)
        return self._format(mark or self.values.get(at, (1, 1)))

    def _format(self, mark: Mark) -> str:
        return f"{self.path}:{mark[0]}:{mark[1]}"


def read(path: Path) -> MarkedYaml:
    """Parse a YAML file.

    Raises:
        SpecError: It cannot be read (see ``files``), or as ``parse``.
    """
    return parse(read_text(path, YAML), path)


def parse(
    text: str,
    path: Path,
    tags: Optional[Mapping[str, Callable[[str], Any]]] = None,
    word: Callable[[str], Any] = plain,
) -> MarkedYaml:
    """Parse YAML.

    Args:
        path: Named in errors.
        tags: Tags of its own that the text may use on words, and what makes a value of such a word.
        word: Makes a value of a word without quotes and tags.

    Raises:
        SpecError: It is not YAML, names a key twice, or goes beyond the bounds of ``yaml_build``; with line and column.
    """
    odd = _UNPRINTABLE.search(text)
    if odd is not None:
        where = f"{path}:{position(text[: odd.start()])}"
        what = f"the control character U+{ord(odd.group()):04X} stands here"
        raise SpecError(what, "YAML is printable text", "take it out", where)
    if len(_DIRECTIVE.findall(text)) > _MOST_DIRECTIVES:
        raise SpecError(f"{path} has more than {_MOST_DIRECTIVES} lines that begin with %", "", "a spec needs none")
    loader = _Parser(text)
    try:
        built = build(_events(loader), tags or {}, word)
    except Refused as error:
        where = "{}:{}:{}".format(path, *error.mark)
        raise SpecError(error.what, error.why, error.remedy, where) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SpecError(f"not valid YAML: {error.problem}", error.context or "", "", place) from None
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not valid YAML", str(error)) from None
    finally:
        loader.dispose()
    return MarkedYaml(path, built.data, built.keys, built.values, built.texts)


def _events(loader: Any) -> Iterator[yaml.Event]:
    while loader.check_event():
        yield loader.get_event()
