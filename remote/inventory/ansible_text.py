"""The text of an Ansible inventory: the hosts, groups and variables in it, by the rules of Ansible's own plugins."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jetlane.remote.inventory.ansible_scalars import MOST_HOSTS, Vault, literal, spread, word
from jetlane.specs.errors import SpecError
from jetlane.specs.support.yaml_marks import Location, MarkedYaml, parse

_SECTION = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$")
_GROUP_NAME = re.compile(r"([^:\]\s]+)\s*(?:#.*)?$")
#: ``host:2222``; a range has colons too, inside brackets.
_HOST_PORT = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>(?:[^:\[\]]|\[[^\]]*\])+)):(?P<port>\d{1,5})$")


@dataclass
class DeclaredGroup:
    """A group as it is written; ``hosts`` and ``children`` keep their order."""

    variables: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    priority: int = 1

    def set(self, name: str, value: Any) -> None:
        """Give a variable a value.

        Raises:
            ValueError: The group's priority is no number.
        """
        if name != "ansible_group_priority":
            self.variables[name] = value
            return
        try:
            self.priority = int(value)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"{name} is {value!r}, which is no whole number") from None


@dataclass
class Declared:
    """The content of one file.

    Attributes:
        hosts: Each host's own variables.
    """

    groups: dict[str, DeclaredGroup] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def group(self, name: str) -> DeclaredGroup:
        return self.groups.setdefault(name, DeclaredGroup())

    def add(self, group: str, pattern: str, variables: Mapping[str, Any]) -> None:
        """Hosts of a pattern with ranges and a port.

        Raises:
            ValueError: A range cannot be read, or there are too many hosts.
        """
        found = _HOST_PORT.match(pattern)
        if found is not None:
            pattern = found["address"] or found["host"]
        for host in [pattern] if found and found["address"] else spread(pattern):
            if host not in self.hosts:
                self.hosts[host] = {"ansible_port": int(found["port"])} if found is not None else {}
            self.hosts[host].update(variables)
            self.group(group).hosts[host] = None
            if len(self.hosts) > MOST_HOSTS:
                raise ValueError(f"more than {MOST_HOSTS:,} hosts")


def read_ini(path: Path, text: str) -> Declared:
    """Ansible's INI.

    Raises:
        SpecError: Naming the line.
    """
    return _Ini(path).read(text)


class _Ini:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._found = Declared()
        #: Groups that are spoken of, and where; and those that are declared.
        self._spoken: dict[str, tuple[int, str]] = {}
        self._declared = {"all", "ungrouped"}

    def read(self, text: str) -> Declared:
        name, kind = "ungrouped", "hosts"
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line[0] in "#;":
                continue
            section = _SECTION.match(line)
            if section:
                name, kind = section[1], section[2] or "hosts"
                self._section(name, kind, number)
            elif line.startswith("[") and line.endswith("]"):
                raise self._refuse(number, f"the section {line!r} cannot be read", "write [GROUP], without spaces")
            elif kind == "hosts":
                self._host(name, line, number)
            elif kind == "vars":
                self._variable(name, line, number)
            else:
                self._child(name, line, number)
        for group, (number, how) in self._spoken.items():
            if group not in self._declared:
                raise self._refuse(number, f"{how} the group {group!r}, which is not declared", f"write [{group}]")
        return self._found

    def _variable(self, group: str, line: str, number: int) -> None:
        name, equals, value = line.partition("=")
        if not equals:
            raise self._refuse(number, f"{line!r} is no variable", "write NAME=VALUE")
        try:
            self._found.group(group).set(name.strip(), literal(value.strip()))
        except ValueError as error:
            raise self._refuse(number, str(error), "") from None

    def _section(self, name: str, kind: str, number: int) -> None:
        if kind not in ("hosts", "children", "vars"):
            raise self._refuse(number, f"the section [{name}:{kind}] is of no known kind", "use :children or :vars")
        self._found.group(name)
        if kind == "vars":
            self._spoken.setdefault(name, (number, "these are variables of"))
        else:
            self._declared.add(name)

    def _child(self, name: str, line: str, number: int) -> None:
        child = _GROUP_NAME.match(line)
        if child is None:
            raise self._refuse(number, f"{line!r} is no group's name", "write one name")
        self._spoken.setdefault(child[1], (number, f"[{name}:children] names"))
        self._found.group(name).children[child[1]] = None
        self._found.group(child[1])

    def _host(self, group: str, line: str, number: int) -> None:
        try:
            pattern, *words = shlex.split(line, comments=True)
            wrong = next((word for word in words if "=" not in word), None)
            if wrong is not None:
                raise ValueError(f"{wrong!r} was found where NAME=VALUE was expected")
            if not pattern or pattern.endswith(":") or pattern == "---":
                raise ValueError(f"{pattern!r} is no host's name")
            variables = {word.partition("=")[0]: literal(word.partition("=")[2]) for word in words}
            self._found.add(group, pattern, variables)
        except ValueError as error:
            raise self._refuse(number, "this host cannot be read", "", str(error)) from None

    def _refuse(self, number: int, what: str, remedy: str, why: str = "") -> SpecError:
        return SpecError(what, why, remedy, f"{self._path}:{number}:1")


def read_yaml(path: Path, text: str) -> Declared:
    """Ansible's YAML.

    Raises:
        SpecError: Naming line and column.
    """
    return _Yaml(_parsed(path, text)).read()


def yaml_values(path: Path, text: str) -> Any:
    """The content of a YAML file of variables; see ``read_yaml``."""
    return _parsed(path, text).data


def _parsed(path: Path, text: str) -> MarkedYaml:
    tags: dict[str, Callable[[str], Any]]
    tags = {"!vault": lambda text: Vault(), "!vault-encrypted": lambda text: Vault(), "!unsafe": str}
    return parse(text, path, tags, word)


class _Yaml:
    def __init__(self, marked: MarkedYaml) -> None:
        self._marked = marked
        self._found = Declared()

    def read(self) -> Declared:
        data = self._marked.data
        if not isinstance(data, Mapping):
            given = {list: "a list", type(None): "nothing"}.get(type(data), "a word")
            raise self._refuse((), f"an Ansible inventory is a mapping of groups, this is {given}")
        if data.get("plugin"):
            what = "this is the configuration of an inventory plugin, which is a program"
            where = self._marked.where(("plugin",), key=True)
            raise SpecError(what, "", "--dynamic lets ansible-inventory run it", where)
        for key, entry in data.items():
            self._group((key,), str(key), entry)
        return self._found

    def _group(self, at: Location, name: str, entry: Any) -> None:
        if entry is not None and not isinstance(entry, Mapping):
            raise self._refuse(at, f"the group {name!r} is no mapping")
        group = self._found.group(name)
        for key, value in (entry or {}).items():
            place = (*at, key)
            if key not in ("vars", "children", "hosts"):
                if isinstance(value, Mapping):
                    raise self._refuse(place, f"{key!r} is in the group {name!r}", key=True)
                continue
            members = {value: None} if isinstance(value, str) else value
            if members is not None and not isinstance(members, Mapping):
                raise self._refuse(place, f"{key} of the group {name!r} is no mapping")
            for inner, content in (members or {}).items():
                if key == "vars":
                    self._variable((*place, inner), group, content)
                elif key == "hosts":
                    self._host((*place, inner), name, str(inner), content)
                else:
                    group.children[str(inner)] = None
                    self._group((*place, inner), str(inner), content)

    def _variable(self, at: Location, group: DeclaredGroup, value: Any) -> None:
        try:
            group.set(str(at[-1]), value)
        except ValueError as error:
            raise self._refuse(at, str(error)) from None

    def _host(self, at: Location, group: str, pattern: str, variables: Any) -> None:
        if variables is not None and not isinstance(variables, Mapping):
            raise self._refuse(at, f"the host {pattern!r} is no mapping of variables")
        try:
            self._found.add(group, pattern, {str(key): value for key, value in (variables or {}).items()})
        except ValueError as error:
            raise self._refuse(at, str(error)) from None

    def _refuse(self, at: Location, what: str, key: bool = False) -> SpecError:
        remedy = "write GROUP: {hosts: {NAME: {VARIABLE: VALUE}}, children: {GROUP: }, vars: {VARIABLE: VALUE}}"
        return SpecError(what, "", remedy, self._marked.where(at, key))
