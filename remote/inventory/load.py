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
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from jetlane.remote.inventory.entries import DeviceEntry, InventoryFile, hop_of
from jetlane.remote.inventory.model import Device, Group, Inventory
from jetlane.specs.errors import SpecError
from jetlane.specs.support import secrets
from jetlane.specs.support.validation import given, validated
from jetlane.specs.support.yaml_marks import Location, MarkedYaml, parse, read

_REMEDY = "fix the inventory; docs/inventory.md lists its keys"
#: Keys whose values are text, as it is written.
_TEXTS = ("host", "user", "key", "known_hosts", "root", "python", "tags", "pool")


def load_inventory(path: Path) -> Inventory:
    """Read an inventory; paths in it start from its own folder.

    Raises:
        SpecError: Naming file, line and column of every mistake.
    """
    path = Path(os.path.expanduser(path)).absolute()
    marked = read(path)
    secrets.refuse(marked.data, marked)  # it travels to other sites as a parameter of Prefect's
    return _Builder(marked, path).inventory()


def inventory_from_text(text: str, path: Path) -> Inventory:
    """As ``load_inventory``, of a text that will be written to ``path``."""
    return _Builder(parse(text, path), path.absolute()).inventory()


class _Builder:
    """Makes devices of the entries of a file."""

    def __init__(self, marked: MarkedYaml, path: Path) -> None:
        self._marked, self._path = marked, path
        if not isinstance(marked.data, Mapping):
            keys = ", ".join(InventoryFile.model_fields)
            what = f"an inventory is a mapping, this is {given(marked.data)}"
            raise SpecError(what, "", f"keys: {keys}", marked.where(()))
        data = _as_written(marked.data, (), marked.texts)
        self._file = validated(InventoryFile, marked, data, _REMEDY, {"folder": path.parent})

    def inventory(self) -> Inventory:
        file = self._file
        for name, jump in file.jumps.items():
            self._refuse_without_host("jump host", name, jump.host, ("jumps", name))
        shared = file.defaults.given()
        self._refuse_unknown_jumps(file.defaults, ("defaults",))
        devices = list(self._devices(("devices",), file.devices, "", shared))
        groups = {}
        for name, entry in file.groups.items():
            own = entry.defaults.given()
            self._refuse_unknown_jumps(entry.defaults, ("groups", name, "defaults"))
            groups[name] = Group(name, entry.pool)
            devices += self._devices(("groups", name, "devices"), entry.devices, name, {**shared, **own})
        if not devices:
            raise SpecError(
                "the inventory lists no devices",
                "",
                "write `devices:` and under it, per device, `NAME: {host: ADDRESS}`",
                self._marked.where(("devices",)),
            )
        self._refuse_repeated(devices)
        return Inventory(self._path, tuple(devices), groups)

    def _devices(
        self, at: Location, entries: Mapping[str, DeviceEntry], group: str, defaults: Mapping[str, Any]
    ) -> Iterator[Device]:
        template = Device("", "", self._path, self._path.parent / "known_hosts", group=group)
        for name, entry in entries.items():
            values = {**defaults, **entry.given()}
            self._refuse_without_host("device", name, values.get("host"), (*at, name))
            self._refuse_unknown_jumps(entry, (*at, name))
            hops, tags = values.pop("jump", None), tuple(values.pop("tags", ()))
            device = replace(template, name=name, tags=tags, **values)
            yield replace(device, jump=self._route(device, hops))

    def _route(self, device: Device, hops: Optional[list[str]]) -> Optional[tuple[Device, ...]]:
        """The hosts to pass; each is reached like the device itself where its entry does not say otherwise."""
        if hops is None:
            return None
        alike = replace(device, port=None, user=None, jump=())
        return tuple(replace(alike, **(self._hop(hop) or {})) for hop in hops)

    def _hop(self, hop: str) -> Optional[dict[str, Any]]:
        return self._file.jumps[hop].given() if hop in self._file.jumps else hop_of(hop)

    def _refuse_unknown_jumps(self, entry: DeviceEntry, at: Location) -> None:
        for hop in entry.given().get("jump", ()):
            if self._hop(hop) is None:
                raise SpecError(
                    f"{'.'.join(map(str, at))}.jump: given {given(hop)}, "
                    "allowed: [user@]host[:port], or a name under `jumps`",
                    "",
                    _REMEDY,
                    self._marked.where((*self._written(at), "jump")),
                )

    def _refuse_without_host(self, kind: str, name: str, host: Optional[str], at: Location) -> None:
        if not host:
            where = self._marked.where(self._written(at), key=True)
            raise SpecError(f"the {kind} {name} has no host", "", "write `host: ADDRESS`", where)

    def _refuse_repeated(self, devices: list[Device]) -> None:
        seen: dict[str, Device] = {}
        for device in devices:
            first = seen.setdefault(device.name, device)
            if first is not device:
                at: Location = ("groups", device.group, "devices", device.name)
                raise SpecError(
                    f"the device {device.name} is given twice",
                    f"it is in the group {first.group} too" if first.group else "it is listed under `devices` too",
                    "a device has one name, and is in one group; use tags for more",
                    self._marked.where(self._written(at), key=True),
                )

    def _written(self, at: Location) -> Location:
        """A location in the file, where a name may be written as a number."""
        kept: Location = ()
        for part in at:
            number = isinstance(part, str) and part.isdigit() and (*kept, part) not in self._marked.keys
            kept = (*kept, int(part) if number else part)
        return kept


def _as_written(value: Any, at: Location, texts: Mapping[Location, str]) -> Any:
    """A copy in which texts that YAML takes for numbers or truth values (007, 1.10, no) are as they are written."""
    if isinstance(value, Mapping):
        return {key: _as_written(item, (*at, key), texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(item, (*at, index), texts) for index, item in enumerate(value)]
    key = next((part for part in reversed(at) if isinstance(part, str)), "")
    if isinstance(value, (bool, int, float)) and key in _TEXTS:
        return texts.get(at, value)
    return value
