"""What an inventory file may hold, as pydantic models: keys, types, limits."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Optional, Union

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from jetlane.specs.support.files import MIB, odd
from jetlane.specs.support.text import is_harmless
from jetlane.specs.support.validation import not_allowed

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
#: ``[user@]host[:port]``; an IPv6 address stands in brackets.
_HOP = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:@\s\[\]]+)(?::(?P<port>\d{1,5}))?\Z")
#: A name or an address; one that begins with - would be an option of the programs that get it.
_ADDRESS = re.compile(r"[^\s-]\S*\Z")
_LONGEST_TEXT = 1024
#: Largest key file, file of pinned keys, SSH configuration.
_LARGEST_FILE = 16 * MIB
_LINE = "one line of text, without control characters and marks of direction"
_HOPS = "[user@]host[:port], a name under `jumps`, or a list of these"


def hop_of(text: str) -> Optional[dict[str, Any]]:
    """Host, user and port of ``[user@]host[:port]``; None where the text is something else."""
    parts = _HOP.match(text)
    if parts is None or not 0 < int(parts["port"] or 1) < 65536 or not is_harmless(text):
        return None
    if any(part is not None and part.startswith("-") for part in (parts["user"], parts["host"])):
        return None
    port = int(parts["port"]) if parts["port"] else None
    return {"host": parts["host"].strip("[]"), "user": parts["user"], "port": port}


def _line(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > _LONGEST_TEXT or not is_harmless(value):
        raise not_allowed(_LINE)
    return value


def _address(value: Any) -> str:
    text = _line(value)
    if not _ADDRESS.match(text):
        raise not_allowed("a name or an address: no spaces, no - at its beginning")
    return text


def _root(value: Any) -> str:
    text = _line(value)
    return text[2:] if text.startswith("~/") else text


def _file(value: Any, info: ValidationInfo) -> Path:
    """A path from the inventory's folder, which the context names; a regular file, or nothing is there yet."""
    folder: Path = (info.context or {})["folder"]
    path = folder / os.path.expanduser(_line(value))
    other = odd(path, _LARGEST_FILE)
    if other is not None:
        raise not_allowed(f"a file; this is {other}")
    return path


def _configuration(value: Any, info: ValidationInfo) -> Union[bool, Path]:
    if isinstance(value, str):
        return _file(value, info)
    if not isinstance(value, bool):
        raise not_allowed("true or false, or a file")
    return value


def _hops(value: Any) -> list[str]:
    hops = [value] if isinstance(value, str) else value
    if not isinstance(hops, list) or not all(isinstance(hop, str) for hop in hops):
        raise not_allowed(_HOPS)
    return hops


def _or_empty(value: Any) -> Any:
    """A section without content may be written as nothing."""
    return value or {}


def _name(value: Any) -> str:
    name = str(value)
    if not NAME.match(name):
        raise not_allowed("letters, digits, `_`, `.` and `-`; it begins with a letter or a digit")
    return name


Name = Annotated[str, BeforeValidator(_name)]
Text = Annotated[str, BeforeValidator(_line)]
Address = Annotated[str, BeforeValidator(_address)]
Root = Annotated[str, BeforeValidator(_root)]
File = Annotated[Path, BeforeValidator(_file)]
Configuration = Annotated[Union[bool, Path], BeforeValidator(_configuration)]
Hops = Annotated[list[str], BeforeValidator(_hops)]


#: The default of keys that may be left out, but not be written as nothing.
_ABSENT: Any = Field(default_factory=lambda: None)


class Entry(BaseModel):
    """A mapping of an inventory: unknown keys are errors, values are taken as they are."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def given(self) -> dict[str, Any]:
        """The values of the keys that the file has."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class HostEntry(Entry):
    """How to reach a host."""

    host: Address = _ABSENT
    port: Annotated[int, Field(ge=1, le=65535)] = _ABSENT
    user: Text = _ABSENT
    key: File = _ABSENT
    agent: bool = _ABSENT
    known_hosts: File = _ABSENT
    ssh_config: Configuration = _ABSENT


class DeviceEntry(HostEntry):
    """A device, or the defaults of several."""

    root: Root = _ABSENT
    python: Text = _ABSENT
    tags: list[Text] = _ABSENT
    jump: Hops = _ABSENT
    preflight: bool = _ABSENT


Defaults = Annotated[DeviceEntry, BeforeValidator(_or_empty)]
Devices = Annotated[dict[Name, Annotated[DeviceEntry, BeforeValidator(_or_empty)]], BeforeValidator(_or_empty)]
Jumps = Annotated[dict[Name, Annotated[HostEntry, BeforeValidator(_or_empty)]], BeforeValidator(_or_empty)]


class GroupEntry(Entry):
    """Devices that belong together."""

    pool: Optional[Text] = None
    defaults: Defaults = Field(default_factory=DeviceEntry)
    devices: Devices = {}


Groups = Annotated[dict[Name, GroupEntry], BeforeValidator(_or_empty)]


class InventoryFile(Entry):
    """A whole inventory file."""

    defaults: Defaults = Field(default_factory=DeviceEntry)
    devices: Devices = {}
    groups: Groups = {}
    jumps: Jumps = {}
