"""The inventory: which devices there are, and how each is reached.

::

    defaults: {user: jetson, key: ~/.ssh/id_ed25519}
    devices:
      nano-1: {host: 10.0.0.5, tags: [nano]}
      orin-1: {host: orin.local, port: 2222, root: /data/jetlane}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import SpecError
from jetlane.specs.yaml_marks import Location, MarkedYaml, read

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True)
class Device:
    """One device of an inventory.

    Attributes:
        host: Name or address.
        user: Who to log in as; the local user unless named.
        key: Private key file; keys of an SSH agent and of ~/.ssh are tried when none is named.
        agent: Whether a running SSH agent is asked.
        known_hosts: File of pinned host keys. Only keys in it are trusted.
        root: The agent's folder on the device; a relative one starts in the user's home.
        python: The interpreter there that has the board's tensorrt.
        tags: For people, and for choosing devices.
        inventory: The file this device was read from.
    """

    name: str
    host: str
    inventory: Path
    known_hosts: Path
    port: int = 22
    user: Optional[str] = None
    key: Optional[Path] = None
    agent: bool = True
    root: str = "jetlane"
    python: str = "python3"
    tags: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Inventory:
    """The devices of one file, in its order."""

    path: Path
    devices: tuple[Device, ...]

    def device(self, name: str) -> Device:
        """The device of that name.

        Raises:
            SpecError: There is none.
        """
        for device in self.devices:
            if device.name == name:
                return device
        known = ", ".join(device.name for device in self.devices)
        raise SpecError(f"{self.path}: there is no device {name!r}", f"it lists {known}", "name one of these")


def load_inventory(path: Path) -> Inventory:
    """Read an inventory; paths in it start from its own folder.

    Raises:
        SpecError: Naming file, line and column.
    """
    path = Path(path).expanduser().absolute()
    marked = read(path)
    top = _mapping(marked, (), marked.data, ("defaults", "devices"))
    defaults = _fields(marked, ("defaults",), top.get("defaults") or {})
    listed = top.get("devices")
    if not isinstance(listed, Mapping) or not listed:
        raise SpecError(
            "the inventory lists no devices",
            "",
            "write `devices:` and under it, per device, `NAME: {host: ADDRESS}`",
            marked.where(("devices",)),
        )
    template = Device("", "", path, path.parent / "known_hosts")
    return Inventory(
        path, tuple(_device(marked, str(name), entry, template, defaults) for name, entry in listed.items())
    )


def _device(marked: MarkedYaml, name: str, entry: Any, template: Device, defaults: Mapping[str, Any]) -> Device:
    at: Location = ("devices", name)
    if not _NAME.match(name):
        raise SpecError(
            f"the device name {name!r} cannot be used",
            "",
            "use letters, digits, `_`, `.` and `-`",
            marked.where(at, key=True),
        )
    given = {**defaults, **_fields(marked, at, entry or {})}
    if not given.get("host"):
        raise SpecError(f"the device {name} has no host", "", "write `host: ADDRESS`", marked.where(at, key=True))
    return replace(template, name=name, **given)


def _fields(marked: MarkedYaml, at: Location, entry: Any) -> dict[str, Any]:
    allowed = tuple(field.name for field in fields(Device) if field.name not in ("name", "inventory"))
    entry = _mapping(marked, at, entry, allowed)
    return {key: _value(marked, (*at, key), key, value) for key, value in entry.items()}


def _mapping(marked: MarkedYaml, at: Location, value: Any, allowed: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(
            f"{'.'.join(map(str, at)) or 'the inventory'} is not a mapping",
            "",
            f"keys: {', '.join(allowed)}",
            marked.where(at),
        )
    for key in value:
        if key not in allowed:
            raise SpecError(
                f"unknown key {key!r}", "", f"use one of {', '.join(allowed)}", marked.where((*at, key), key=True)
            )
    return value


def _value(marked: MarkedYaml, at: Location, key: str, value: Any) -> Any:
    def refuse(wanted: str) -> SpecError:
        return SpecError(f"{key} is {value!r}", f"it must be {wanted}", "", marked.where(at))

    if key == "port":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 65536:
            raise refuse("a whole number from 1 to 65535")
        return value
    if key == "agent":
        if not isinstance(value, bool):
            raise refuse("true or false")
        return value
    if key == "tags":
        if not isinstance(value, list) or not all(isinstance(tag, (str, int, float)) for tag in value):
            raise refuse("a list of words")
        return tuple(str(tag) for tag in value)
    if not isinstance(value, (str, int, float)) or isinstance(value, bool) or not str(value) or "\n" in str(value):
        raise refuse("one line of text")
    if key in ("key", "known_hosts"):
        return marked.path.parent / Path(str(value)).expanduser()
    text = str(value)
    return text[2:] if key == "root" and text.startswith("~/") else text
