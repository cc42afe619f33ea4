"""An Ansible inventory, INI or YAML, becomes one of ours.

Taken over: hosts with their ranges, groups with their children and variables (also from ``group_vars`` and
``host_vars`` beside the file), of the variables those that say how a host is reached. Ansible's groups become tags, as
a host may be in many; groups that are asked for become groups. Passwords are not taken over, and written nowhere.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import yaml

from jetlane.remote.inventory.load import NAME, hop_of
from jetlane.specs.errors import SpecError

#: Ansible's variables (and their older names) -> our keys.
_KEYS = {
    "ansible_host": "host",
    "ansible_ssh_host": "host",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key",
    "ansible_python_interpreter": "python",
}
_SECRET = re.compile(r"ansible_.*(pass|password|passphrase)$")
_ARGUMENTS = ("ansible_ssh_common_args", "ansible_ssh_extra_args", "ansible_ssh_args")
_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_HEAD = "# Made from {name} by `jetlane inventory import-ansible`.\n"
#: Keys that are said once when all devices agree.
_SHARED = ("user", "key", "python", "port", "jump")


@dataclass
class _Group:
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)


class _Vault:
    """A value that only Ansible's vault can open."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that knows Ansible's tags."""


_Loader.add_constructor("!vault", lambda loader, node: _Vault())
_Loader.add_constructor("!unsafe", lambda loader, node: str(node.value))


def from_ansible(path: Path, groups: Sequence[str] = ()) -> tuple[str, list[str]]:
    """Translate an Ansible inventory.

    Args:
        groups: Groups that are to be groups of ours; the others become tags alone.

    Returns:
        The YAML, and a sentence for everything that was left out.

    Raises:
        SpecError: It cannot be read, or a host's name cannot be ours.
    """
    path = Path(path)
    return _Import(path, _read(path)).translate(groups)


def _read(path: Path) -> dict[str, _Group]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read", str(error), "name a file in INI or YAML") from error
    if text.startswith("$ANSIBLE_VAULT"):
        raise SpecError(f"{path} is encrypted", "only Ansible's vault can open it", "decrypt a copy of it first")
    if text.startswith("#!") and os.access(path, os.X_OK):
        raise SpecError(
            f"{path} is a program", "", f"ansible-inventory -i {path} --list --yaml > hosts.yaml, and import that"
        )
    found: dict[str, _Group] = {}
    lines = [line for line in text.splitlines() if line.strip() and line.strip()[0] not in "#;"]
    if path.suffix in (".yml", ".yaml") or re.match(r"---|[\w.-]+:\s*$", lines[0] if lines else ""):
        _from_yaml(_yaml(path, text), found)
    else:
        _from_ini(path, text, found)
    return found


def _yaml(path: Path, text: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not valid YAML", str(error)) from error


def _from_yaml(data: Any, found: dict[str, _Group]) -> None:
    for name, entry in (data or {}).items():
        group, entry = found.setdefault(str(name), _Group()), entry or {}
        group.variables.update(entry.get("vars") or {})
        for pattern, variables in (entry.get("hosts") or {}).items():
            for host in _spread(str(pattern)):
                group.hosts.setdefault(host, {}).update(variables or {})
        children = entry.get("children") or {}
        group.children += [str(child) for child in children]
        _from_yaml(children, found)


def _from_ini(path: Path, text: str, found: dict[str, _Group]) -> None:
    name, kind = "ungrouped", "hosts"
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line[0] in "#;":
            continue
        section = re.match(r"\[([^\]:]+)(?::(vars|children|hosts))?\]\s*(?:[#;].*)?$", line)
        if section:
            name, kind = section[1], section[2] or "hosts"
            found.setdefault(name, _Group())
            continue
        group = found.setdefault(name, _Group())
        if kind == "children":
            group.children.append(line.split()[0])
        elif kind == "vars":
            key, _, value = line.partition("=")
            group.variables[key.strip()] = _plain(value.strip())
        else:
            try:
                pattern, *words = shlex.split(line, comments=True)
            except ValueError as error:
                raise SpecError("this host cannot be read", str(error), "", f"{path}:{number}:1") from error
            variables = {word.partition("=")[0]: _plain(word.partition("=")[2]) for word in words}
            pattern, port = _with_port(pattern)
            for host in _spread(pattern):
                group.hosts.setdefault(host, {}).update({**port, **variables})


def _with_port(pattern: str) -> tuple[str, dict[str, Any]]:
    """``host:2222``; a range has colons too, inside brackets."""
    found = re.match(r"(.*[^:]):(\d+)$", pattern)
    return (found[1], {"ansible_port": int(found[2])}) if found else (pattern, {})


def _plain(text: str) -> Any:
    text = text.strip("\"'") if text[:1] in "\"'" else text
    return int(text) if re.fullmatch(r"\d{1,9}", text) else text


def _spread(pattern: str) -> Iterator[str]:
    """``nano[01:10]`` and ``board-[a:f]``: every host that is meant, both ends included."""
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last, step = found[1], found[2], int(found[3] or 1)
    if first.isdigit() and last.isdigit():
        width = len(first) if first.startswith("0") else 0
        middles = [str(number).zfill(width) for number in range(int(first), int(last) + 1, step)]
    elif len(first) == len(last) == 1 and first.isalpha() and last.isalpha():
        middles = [chr(code) for code in range(ord(first), ord(last) + 1, step)]
    else:
        raise SpecError(f"the range in {pattern!r} cannot be read", "", "write [01:10] or [a:f]")
    for middle in middles:
        yield from _spread(pattern[: found.start()] + middle + pattern[found.end() :])


class _Import:
    def __init__(self, path: Path, groups: dict[str, _Group]) -> None:
        self._path, self._groups = path, groups
        self._notes: list[str] = []
        for name, group in groups.items():
            group.variables = {**group.variables, **self._beside("group_vars", name)}

    def translate(self, wanted: Sequence[str]) -> tuple[str, list[str]]:
        for name in wanted:
            if name not in self._groups:
                known = ", ".join(sorted(set(self._groups) - {"all", "ungrouped"}))
                raise SpecError(f"{self._path} has no group {name!r}", f"it has {known}", "name one of these")
        hosts = list(dict.fromkeys(host for group in self._groups.values() for host in group.hosts))
        devices: dict[str, dict[str, Any]] = {}
        of_group: dict[str, list[str]] = {name: [] for name in wanted}
        for host in hosts:
            device = self._device(host)
            if device is None:
                continue
            devices[host] = device
            own = [name for name in wanted if name in self._line(host)]
            if len(own) > 1:
                raise SpecError(
                    f"{host} is in the groups {' and '.join(own)}",
                    "a device stands in one group",
                    "ask for groups that have no host in common; every group is a tag all the same",
                )
            for name in own:
                of_group[name].append(host)
        if not devices:
            raise SpecError(f"{self._path} lists no hosts that are reached by SSH", "; ".join(self._notes))
        return _HEAD.format(name=self._path.name) + _written(devices, of_group), self._notes

    def _line(self, host: str) -> list[str]:
        """The groups of a host, those that contain others first."""
        direct = [name for name, group in self._groups.items() if host in group.hosts]
        line: list[str] = []

        def up(name: str, seen: tuple[str, ...]) -> None:
            for parent in sorted(self._groups):
                if name in self._groups[parent].children and parent not in seen:
                    up(parent, (*seen, parent))
            if name not in line:
                line.append(name)

        for name in sorted(direct):
            up(name, (name,))
        return line

    def _device(self, host: str) -> Optional[dict[str, Any]]:
        line = self._line(host)
        everybody = self._groups.get("all", _Group()).variables or self._beside("group_vars", "all")
        values: dict[str, Any] = dict(everybody)
        for name in line:
            values.update(self._groups[name].variables)
        for name in line:
            values.update(self._groups[name].hosts.get(host, {}))
        values.update(self._beside("host_vars", host))
        if values.get("ansible_connection") not in (None, "ssh", "smart", "paramiko", "paramiko_ssh"):
            self._note(f"{host} was left out: it is not reached by SSH (ansible_connection)")
            return None
        if not NAME.match(host):
            raise SpecError(
                f"the host name {host!r} cannot be a device's name", "", "give it an alias and `ansible_host`"
            )
        device: dict[str, Any] = {"host": host}
        for name, value in values.items():
            self._take(device, host, str(name), value)
        tags = [name for name in line if name not in ("all", "ungrouped")]
        return {**device, **({"tags": tags} if tags else {})}

    def _take(self, device: dict[str, Any], host: str, name: str, value: Any) -> None:
        if _SECRET.match(name):
            self._note(f"{name} was left out: jetlane logs in with keys alone")
        elif name in _ARGUMENTS:
            jump = _jump(str(value))
            if jump:
                device["jump"] = jump
            elif str(value).strip():
                self._note(f"{name} was left out: {value!r}; put what it says into the SSH configuration")
        elif name in _KEYS and (isinstance(value, _Vault) or "{{" in str(value)):
            self._note(f"{name} of {host} was left out: only Ansible can work out its value")
        elif name == "ansible_python_interpreter" and str(value).startswith("auto"):
            return
        elif name in _KEYS:
            key = _KEYS[name]
            device[key] = self._key_file(str(value)) if key == "key" else int(value) if key == "port" else str(value)

    def _key_file(self, text: str) -> str:
        return text if text.startswith(("~", "/")) else str(self._path.absolute().parent / text)

    def _beside(self, folder: str, name: str) -> Mapping[str, Any]:
        """The variables that Ansible would read from files beside the inventory."""
        base = self._path.parent / folder / name
        files = [base, base.with_name(name + ".yml"), base.with_name(name + ".yaml")]
        files += sorted(base.glob("*.y*ml")) if base.is_dir() else []
        found: dict[str, Any] = {}
        for file in files:
            if not file.is_file():
                continue
            text = file.read_text(encoding="utf-8", errors="replace")
            if text.startswith("$ANSIBLE_VAULT"):
                self._note(f"{file} was left out: it is encrypted by Ansible's vault")
                continue
            data = _yaml(file, text)
            found.update(data if isinstance(data, Mapping) else {})
        return found

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _jump(arguments: str) -> list[str]:
    """The hosts of ``-J a,b`` or ``-o ProxyJump=a,b``, where the arguments say nothing else."""
    found = re.fullmatch(r"""\s*['"]?\s*(?:-J\s*|-o\s*['"]?ProxyJump[= ])([^\s'"]+)\s*['"]?\s*""", arguments)
    hops = found[1].split(",") if found else []
    return hops if all(hop_of(hop) for hop in hops) else []


def _written(devices: dict[str, dict[str, Any]], of_group: Mapping[str, Sequence[str]]) -> str:
    defaults = {}
    for key in _SHARED:
        values = [device.get(key) for device in devices.values()]
        if values[0] is not None and all(value == values[0] for value in values):
            defaults[key] = values[0]
    for device in devices.values():
        for key in defaults:
            del device[key]
    grouped = {name for names in of_group.values() for name in names}
    data: dict[str, Any] = {"defaults": defaults} if defaults else {}
    alone = {name: device for name, device in devices.items() if name not in grouped}
    if alone:
        data["devices"] = alone
    if grouped:
        data["groups"] = {
            group: {"devices": {name: devices[name] for name in names}} for group, names in of_group.items() if names
        }
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, width=120)
