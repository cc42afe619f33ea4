"""Read an inventory.

::

    defaults: {user: jetson, key: ~/.ssh/id_ed25519}
    devices:
      nano-1: {host: 10.0.0.5, tags: [nano]}
      orin-1: {host: orin.local, port: 2222, root: /data/jetlane}
    jumps:
      gate: {host: gate.site-a.example, user: ops}
    groups:
      site-a:
        pool: jetson-a
        defaults: {jump: gate}
        devices:
          xavier-1: {host: 192.168.1.20}
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.inventory.model import Device, Group, Inventory
from jetlane.specs import secrets
from jetlane.specs.errors import SpecError
from jetlane.specs.files import MIB, odd
from jetlane.specs.text import is_harmless
from jetlane.specs.yaml_marks import Location, MarkedYaml, parse, read

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
#: ``[user@]host[:port]``; an IPv6 address stands in brackets.
_HOP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:@\s\[\]]+)(?::(?P<port>\d{1,5}))?\Z")
#: A name or an address; what begins with - would be an option of the programs that are given it.
_ADDRESS = re.compile(r"[^\s-]\S*\Z")
_LONGEST_TEXT = 1024
#: Largest key file, file of pinned keys, SSH configuration.
_LARGEST_FILE = 16 * MIB
_REACH = ("host", "port", "user", "key", "agent", "known_hosts", "ssh_config")
_KEYS = (*_REACH, "root", "python", "tags", "jump")


def load_inventory(path: Path) -> Inventory:
    """Read an inventory; paths in it start from its own folder.

    Raises:
        SpecError: Naming file, line and column.
    """
    path = Path(os.path.expanduser(path)).absolute()
    marked = read(path)
    secrets.refuse(marked.data, marked)  # it travels to other sites as a parameter of Prefect's
    return _Reader(marked, path).inventory()


def inventory_from_text(text: str, path: Path) -> Inventory:
    """As ``load_inventory``, of what is to be written to ``path``."""
    return _Reader(parse(text, path), path.absolute()).inventory()


def hop_of(text: str) -> Optional[dict[str, Any]]:
    """Host, user and port of ``[user@]host[:port]``; None where it is no such thing."""
    parts = _HOP.match(text)
    if parts is None or not 0 < int(parts["port"] or 1) < 65536 or not is_harmless(text):
        return None
    if any(part is not None and part.startswith("-") for part in (parts["user"], parts["host"])):
        return None
    port = int(parts["port"]) if parts["port"] else None
    return {"host": parts["host"].strip("[]"), "user": parts["user"], "port": port}


@dataclass
class _Reader:
    marked: MarkedYaml
    path: Path

    def inventory(self) -> Inventory:
        top = self._mapping((), self.marked.data, ("defaults", "devices", "groups", "jumps"))
        self._jumps = self._read_jumps(top.get("jumps") or {})
        defaults = self._fields(("defaults",), top.get("defaults") or {})
        devices = list(self._devices(("devices",), top.get("devices") or {}, "", defaults))
        groups = {}
        for name, at, entry in self._named(("groups",), top.get("groups") or {}, "group"):
            groups[name] = self._group(name, at, entry)
            listed = entry.get("devices") or {}
            devices += self._devices((*at, "devices"), listed, name, {**defaults, **groups[name].defaults})
        if not devices:
            raise SpecError(
                "the inventory lists no devices",
                "",
                "write `devices:` and under it, per device, `NAME: {host: ADDRESS}`",
                self.marked.where(("devices",)),
            )
        self._refuse_twins(devices)
        return Inventory(self.path, tuple(devices), groups)

    def _group(self, name: str, at: Location, entry: Any) -> Group:
        entry = self._mapping(at, entry, ("pool", "defaults", "devices"))
        pool = entry.get("pool")
        if pool is not None:
            pool = self._text((*at, "pool"), "pool", pool)
        return Group(name, pool, self._fields((*at, "defaults"), entry.get("defaults") or {}))

    def _devices(self, at: Location, listed: Any, group: str, defaults: Mapping[str, Any]) -> Iterator[Device]:
        template = Device("", "", self.path, self.path.parent / "known_hosts", group=group)
        for name, place, entry in self._named(at, listed, "device"):
            given = {**defaults, **self._fields(place, entry or {})}
            if not given.get("host"):
                where = self.marked.where(place, key=True)
                raise SpecError(f"the device {name} has no host", "", "write `host: ADDRESS`", where)
            device = replace(template, name=name, **{key: value for key, value in given.items() if key != "jump"})
            yield replace(device, jump=self._road(device, given.get("jump")))

    def _read_jumps(self, listed: Any) -> dict[str, dict[str, Any]]:
        jumps = {}
        for name, place, entry in self._named(("jumps",), listed, "jump host"):
            jumps[name] = self._fields(place, entry or {}, _REACH)
            if not jumps[name].get("host"):
                where = self.marked.where(place, key=True)
                raise SpecError(f"the jump host {name} has no host", "", "write `host: ADDRESS`", where)
        return jumps

    def _road(self, device: Device, hops: Optional[tuple[dict[str, Any], ...]]) -> Optional[tuple[Device, ...]]:
        """The hosts to pass; each is reached as the device itself is where its entry does not say otherwise."""
        if hops is None:
            return None
        alike = replace(device, port=None, user=None, jump=())
        return tuple(replace(alike, **hop) for hop in hops)

    def _refuse_twins(self, devices: list[Device]) -> None:
        seen: dict[str, Device] = {}
        for device in devices:
            first = seen.setdefault(device.name, device)
            if first is not device:
                at: Location = ("groups", device.group, "devices", device.name)
                raise SpecError(
                    f"the device {device.name} is given twice",
                    f"it is in the group {first.group} too" if first.group else "it is listed under `devices` too",
                    "a device has one name, and stands in one group; use tags for more",
                    self.marked.where(at, key=True),
                )

    def _named(self, at: Location, listed: Any, kind: str) -> Iterator[tuple[str, Location, Any]]:
        """(name, where it stands, what it holds) of each."""
        if not isinstance(listed, Mapping):
            raise SpecError(
                f"{'.'.join(map(str, at))} is not a mapping",
                "",
                f"write a {kind}'s name and `:`",
                self.marked.where(at),
            )
        for key, entry in listed.items():
            name = str(key)
            if not NAME.match(name):
                raise SpecError(
                    f"the {kind} name {name!r} cannot be used",
                    "",
                    "use letters, digits, `_`, `.` and `-`",
                    self.marked.where((*at, key), key=True),
                )
            yield name, (*at, key), entry

    def _fields(self, at: Location, entry: Any, allowed: tuple[str, ...] = _KEYS) -> dict[str, Any]:
        entry = self._mapping(at, entry, allowed)
        return {key: self._value((*at, key), key, value) for key, value in entry.items()}

    def _mapping(self, at: Location, value: Any, allowed: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise SpecError(
                f"{'.'.join(map(str, at)) or 'the inventory'} is not a mapping",
                "",
                f"keys: {', '.join(allowed)}",
                self.marked.where(at),
            )
        for key in value:
            if key not in allowed:
                where = self.marked.where((*at, key), key=True)
                raise SpecError(f"unknown key {key!r}", "", f"use one of {', '.join(allowed)}", where)
        return value

    def _value(self, at: Location, key: str, value: Any) -> Any:
        if key == "port":
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
                raise self._refuse(at, key, value, "a whole number from 1 to 65535")
            return value
        if key == "ssh_config" and isinstance(value, str):
            return self._file(at, key, value)
        if key in ("agent", "ssh_config"):
            if not isinstance(value, bool):
                raise self._refuse(at, key, value, "true or false" + (", or a file" if key == "ssh_config" else ""))
            return value
        if key == "tags":
            if not isinstance(value, list):
                raise self._refuse(at, key, value, "a list of words")
            return tuple(self._text((*at, index), "a tag", tag) for index, tag in enumerate(value))
        if key == "jump":
            return self._jump(at, value)
        if key in ("key", "known_hosts"):
            return self._file(at, key, value)
        text = self._text(at, key, value)
        if key == "host" and not _ADDRESS.match(text):
            raise self._refuse(at, key, value, "a name or an address: no spaces, no - at its beginning")
        return text[2:] if key == "root" and text.startswith("~/") else text

    def _file(self, at: Location, key: str, value: Any) -> Path:
        """A path from the inventory's folder; what stands there is a regular file, or nothing yet."""
        path = self.path.parent / os.path.expanduser(self._text(at, key, value))
        other = odd(path, _LARGEST_FILE)
        if other is not None:
            raise self._refuse(at, key, value, f"a file; this is {other}")
        return path

    def _jump(self, at: Location, value: Any) -> tuple[dict[str, Any], ...]:
        hops = [value] if isinstance(value, str) else value
        if not isinstance(hops, list) or not all(isinstance(hop, str) for hop in hops):
            raise self._refuse(at, "jump", value, "[user@]host[:port] or a name under `jumps`, or a list of these")
        roads = [self._jumps[hop] if hop in self._jumps else hop_of(hop) for hop in hops]
        for hop, road in zip(hops, roads):
            if road is None:
                raise self._refuse(at, "jump", hop, "[user@]host[:port], or a name under `jumps`")
        return tuple(road for road in roads if road is not None)

    def _text(self, at: Location, key: str, value: Any) -> str:
        """One line; what YAML takes for a number or a truth value (007, 1.10, no) is taken as it is written."""
        text = self.marked.texts.get(at) if isinstance(value, (bool, int, float)) else value
        if not isinstance(text, str) or not text or len(text) > _LONGEST_TEXT or not is_harmless(text):
            raise self._refuse(at, key, value, "one line of text, without control characters and marks of direction")
        return text

    def _refuse(self, at: Location, key: str, value: Any, wanted: str) -> SpecError:
        given = repr(value)
        shown = given if len(given) <= 200 else given[:200] + "..."
        return SpecError(f"{key} is {shown}", f"it must be {wanted}", "", self.marked.where(at))
