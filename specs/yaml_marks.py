"""YAML with positions: plain values, and the line and column of every key and value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

import yaml

from jetlane.specs.errors import SpecError

Location = tuple[Union[str, int], ...]


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads ``1e-3`` as the number it is (YAML 1.1 wants ``1.0e-3``)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


@dataclass
class MarkedYaml:
    """A parsed file.

    Attributes:
        path: The file, as the person named it.
        data: Mappings, lists, strings, numbers, booleans, None.
        keys: (line, column) of each key, by its location; both count from 1.
        values: (line, column) of each value, by its location; ``()`` is the document.
    """

    path: Path
    data: Any = None
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)
    values: dict[Location, tuple[int, int]] = field(default_factory=dict)

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

    def _format(self, mark: tuple[int, int]) -> str:
        return f"{self.path}:{mark[0]}:{mark[1]}"


def read(path: Path) -> MarkedYaml:
    """Parse a YAML file.

    Raises:
        SpecError: It cannot be read, is not YAML, or a mapping names a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError(f"{path}: no such file", "", "check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read", str(error), "a spec is a YAML file in UTF-8") from error
    loader = _Loader(text)
    marked = MarkedYaml(path)
    try:
        node = loader.get_single_node()
        marked.values[()] = (1, 1)
        if node is not None:
            marked.data = _plain(loader, node, (), marked)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise SpecError(f"not valid YAML: {error.problem}", error.context or "", "", where) from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not valid YAML", str(error)) from error
    finally:
        loader.dispose()
    return marked


def _plain(loader: _Loader, node: yaml.Node, at: Location, marked: MarkedYaml) -> Any:
    marked.values[at] = _mark(node)
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = _key(loader, key_node)
            inner = (*at, key)
            if inner in marked.keys:
                line, column = marked.keys[inner]
                where = "{}:{}:{}".format(marked.path, *_mark(key_node))
                raise SpecError(f"the key {key!r} is given twice", f"first in line {line}, column {column}", "", where)
            marked.keys[inner] = _mark(key_node)
            result[key] = _plain(loader, value_node, inner, marked)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, item, (*at, index), marked) for index, item in enumerate(node.value)]
    return loader.construct_object(node, deep=True)


def _key(loader: _Loader, node: yaml.Node) -> Union[str, int]:
    """A key as it is written: a device called ``off`` or ``no`` is not the truth value False."""
    key = loader.construct_object(node, deep=True)
    if isinstance(key, (str, int)) and not isinstance(key, bool):
        return key
    return str(node.value) if isinstance(node, yaml.ScalarNode) else str(key)


def _mark(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
