"""A static Ansible inventory, INI or YAML, read by Ansible's own rules, without Ansible.

Groups with children and variables, ranges, ``group_vars`` and ``host_vars`` beside the file, and which of two values of
one variable takes precedence. No program is run, no template worked out, no vault opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.inventory.ansible_text import Declared, read_ini, read_yaml, yaml_values
from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import MIB, FileKind, decoded, read_bytes

INVENTORY = FileKind("an Ansible inventory", 4 * MIB, SpecError, "name a file in INI or YAML, no folder")
_EXTENSIONS = ("", ".yml", ".yaml", ".json")
_MOST_FILES, _DEEPEST = 1000, 8
_COMMENT = (b"#", b";")


@dataclass
class AnsibleGroup:
    """The hosts and groups directly in a group, in the file's order."""

    hosts: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)


@dataclass
class AnsibleInventory:
    """An Ansible inventory, read by Ansible or by jetlane.

    Attributes:
        hosts: Variables of each host, including those of its groups; templates and vaults are not evaluated.
        groups: By name; ``all`` and ``ungrouped`` among them.
        notes: A sentence for everything that could not be read.
    """

    hosts: Mapping[str, Mapping[str, Any]]
    groups: dict[str, AnsibleGroup]
    notes: list[str] = field(default_factory=list)

    def order(self) -> list[str]:
        """The hosts, as a walk down from ``all`` meets them."""
        found: dict[str, None] = {}
        seen: set[str] = set()
        left = ["all"]
        while left:
            name = left.pop()
            if name in seen or name not in self.groups:
                continue
            seen.add(name)
            found.update(dict.fromkeys(self.groups[name].hosts))
            left += reversed(self.groups[name].children)
        found.update(dict.fromkeys(self.hosts))
        return [host for host in found if host in self.hosts]

    def lines(self) -> dict[str, list[str]]:
        """The groups of each host, those that contain others first."""
        return {host: names for host, names in _lines(self.groups).items() if host in self.hosts}


def read_static(path: Path) -> AnsibleInventory:
    """Read an inventory that is a file of data.

    Raises:
        SpecError: It is a program or a plugin's configuration, encrypted, of another form, or contradictory; with
            line, and in YAML column.
    """
    declared = _declared(path)
    groups = {name: AnsibleGroup(list(group.hosts), list(group.children)) for name, group in declared.groups.items()}
    for name in ("all", "ungrouped"):
        groups.setdefault(name, AnsibleGroup())
    grouped = {host for name, group in groups.items() if name not in ("all", "ungrouped") for host in group.hosts}
    listed = dict.fromkeys([*groups["ungrouped"].hosts, *declared.hosts])
    groups["ungrouped"].hosts = [host for host in listed if host not in grouped]
    has_parent = {child for group in groups.values() for child in group.children}
    tops = [name for name in groups if name not in has_parent and name != "all"]
    tops.sort(key=lambda name: name != "ungrouped")
    groups["all"].children = list(dict.fromkeys([*groups["all"].children, *tops]))
    _refuse_circles(path, groups)
    return _Variables(path, declared, groups).inventory()


def _declared(path: Path) -> Declared:
    data = read_bytes(path, INVENTORY)
    if data.startswith(b"$ANSIBLE_VAULT"):
        raise SpecError(f"{path} is encrypted", "only Ansible's vault can open it", "decrypt a copy of it first")
    if data.startswith(b"#!") and os.access(path, os.X_OK):
        raise SpecError(f"{path} is a program", "", "--dynamic lets ansible-inventory run it")
    if path.suffix == ".toml":
        raise SpecError(f"{path} is TOML", "INI and YAML are read", _converted(path))
    if path.suffix in (".yml", ".yaml", ".json") or _looks_like_yaml(data):
        return read_yaml(path, decoded(data, path, INVENTORY))
    # comments are not parsed
    lines = [b"" if line.lstrip().startswith(_COMMENT) else line for line in data.split(b"\n")]
    return read_ini(path, decoded(b"\n".join(lines), path, INVENTORY))


def _converted(path: Path) -> str:
    return f"ansible-inventory -i {path} --list --yaml > hosts.yaml, and import that"


def _looks_like_yaml(data: bytes) -> bool:
    lines = (line for line in data.splitlines() if line.strip() and not line.lstrip().startswith(_COMMENT))
    return bool(re.match(rb"---|[\w.-]+:\s*(#.*)?$", next(lines, b"")))


def _refuse_circles(path: Path, groups: Mapping[str, AnsibleGroup]) -> None:
    done: set[str] = set()
    for top in groups:
        road: list[str] = []
        left: list[tuple[str, bool]] = [(top, False)]
        while left:
            name, leaving = left.pop()
            if leaving:
                road.pop()
                done.add(name)
            elif name in road:
                circle = " > ".join([*road[road.index(name) :], name])
                raise SpecError(f"{path}: groups contain each other in a circle: {circle}", "", "take one of them out")
            elif name not in done:
                road.append(name)
                left.append((name, True))
                left += [(child, False) for child in groups[name].children]


def _depths(groups: Mapping[str, AnsibleGroup]) -> dict[str, int]:
    """Length of the longest way down to each group; there are no circles."""
    depths = dict.fromkeys(groups, 0)
    left = list(groups)
    while left:
        name = left.pop()
        for child in groups[name].children:
            if child in depths and depths[child] <= depths[name]:
                depths[child] = depths[name] + 1
                left.append(child)
    return depths


def _lines(groups: Mapping[str, AnsibleGroup], priorities: Optional[Mapping[str, int]] = None) -> dict[str, list[str]]:
    """All groups of each host, in the order in which their variables count, the last one most."""
    depths, known = _depths(groups), priorities or {}
    parents: dict[str, list[str]] = {name: [] for name in groups}
    for name, group in groups.items():
        for child in group.children:
            parents.setdefault(child, []).append(name)
    found: dict[str, set[str]] = {}
    for name, group in groups.items():
        above, left = {name}, [name]
        while left:
            new = [parent for parent in parents[left.pop()] if parent not in above]
            above.update(new)
            left += new
        for host in group.hosts:
            found.setdefault(host, {"all"}).update(above)
    return {
        host: sorted(names, key=lambda name: (depths.get(name, 0), known.get(name, 1), name))
        for host, names in found.items()
    }


class _Variables:
    """Every host's variables, in Ansible's order: groups of the file, group_vars, the host's line, host_vars."""

    def __init__(self, path: Path, declared: Declared, groups: dict[str, AnsibleGroup]) -> None:
        self._path, self._declared, self._groups = path, declared, groups
        self._notes: list[str] = []
        self._beside: dict[tuple[str, str], Mapping[str, Any]] = {}

    def inventory(self) -> AnsibleInventory:
        priorities = {name: group.priority for name, group in self._declared.groups.items()}
        lines = _lines(self._groups, priorities)
        hosts = {host: self._of(host, lines.get(host, ["all"])) for host in self._declared.hosts}
        return AnsibleInventory(hosts, self._groups, self._notes)

    def _of(self, host: str, line: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        own = self._declared.groups
        for name in line:
            if name in own:
                values.update(own[name].variables)
        for name in line:
            values.update(self._files("group_vars", name))
        values.update(self._declared.hosts[host])
        values.update(self._files("host_vars", host))
        return values

    def _files(self, folder: str, name: str) -> Mapping[str, Any]:
        """The variables that Ansible would read from files beside the inventory."""
        if (folder, name) not in self._beside:
            found: dict[str, Any] = {}
            for file in _vars_files(Path(os.path.realpath(self._path.parent)) / folder, name):
                data = read_bytes(file, INVENTORY)
                if data.startswith(b"$ANSIBLE_VAULT"):
                    self._notes.append(f"{file} was left out: it is encrypted by Ansible's vault")
                    continue
                values = yaml_values(file, decoded(data, file, INVENTORY))
                if values is not None and not isinstance(values, Mapping):
                    raise SpecError(f"{file}: variables are a mapping", "", "write NAME: VALUE", f"{file}:1:1")
                found.update({str(key): value for key, value in (values or {}).items()})
            self._beside[folder, name] = found
        return self._beside[folder, name]


def _vars_files(folder: Path, name: str) -> Iterator[Path]:
    """``NAME``, or else ``NAME.yml``, ...: the first one that is there; of a folder every file in it."""
    if "/" in name or name.startswith(".") or not folder.is_dir():
        return
    for extension in _EXTENSIONS:
        place = folder / (name + extension)
        if place.is_dir():
            files = list(_in_folder(place, 0))
            if len(files) > _MOST_FILES:
                raise SpecError(f"{place} holds more than {_MOST_FILES} files of variables")
            yield from files
            return
        if place.exists():
            yield place
            return


def _in_folder(folder: Path, depth: int) -> Iterator[Path]:
    if depth > _DEEPEST:
        raise SpecError(f"{folder} is more than {_DEEPEST} folders deep, or a circle of links")
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or place.name.endswith("~"):
            continue
        if place.is_dir() and not place.suffix:
            yield from _in_folder(place, depth + 1)
        elif place.is_file() and place.suffix in _EXTENSIONS:
            yield place
