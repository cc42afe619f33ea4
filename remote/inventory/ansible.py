"""Converts an Ansible inventory.

Only variables about how a host is reached are converted. Ansible's groups become tags, as a host may be in several;
requested groups become groups. Passwords are neither converted nor written anywhere.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import yaml

from jetlane.remote.inventory.ansible_program import read_by_ansible
from jetlane.remote.inventory.ansible_read import INVENTORY, AnsibleInventory, read_static
from jetlane.remote.inventory.ansible_scalars import known
from jetlane.remote.inventory.entries import NAME, hop_of
from jetlane.remote.inventory.load import inventory_from_text
from jetlane.specs.errors import SpecError
from jetlane.specs.support.files import read_bytes
from jetlane.specs.support.text import harmless, is_harmless

#: Ansible's variables -> our keys. Where a host has several for one key, its SSH plugin takes the last one of these.
_KEYS = {
    "ansible_host": "host",
    "ansible_ssh_host": "host",
    "ansible_port": "port",
    "ansible_ssh_port": "port",
    "ansible_user": "user",
    "ansible_ssh_user": "user",
    "ansible_private_key_file": "key",
    "ansible_ssh_private_key_file": "key",
    "ansible_python_interpreter": "python",
}
_SECRET = re.compile(r"ansible_(.*(pass|password|passphrase)|(ssh_)?private_key)$")
_ARGUMENTS = ("ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args")
_BY_SSH = ("ssh", "smart", "paramiko", "paramiko_ssh", "libssh")
_HEAD = "# Made from {name} by `jetlane inventory import-ansible`.\n"
#: Keys that become defaults when all devices have the same value.
_SHARED = ("user", "key", "python", "port", "jump")


def from_ansible(
    path: Path, groups: Sequence[str] = (), program: Optional[str] = None, dynamic: bool = False
) -> tuple[str, list[str]]:
    """Translate an Ansible inventory.

    Args:
        groups: Groups that become groups; the others become tags only.
        program: ``ansible-inventory``, which is preferred; None: the inventory is read here, by the same rules.
        dynamic: Let that program run programs and plugins that the inventory or the configuration names.

    Returns:
        The YAML, and a sentence for everything that was left out; both safe for terminals.

    Raises:
        SpecError: It cannot be read, a host's name cannot be used, or a port is invalid.
    """
    path = Path(path)
    found = _read(path, program, dynamic)
    text, notes = _Import(path, found).translate(groups)
    inventory_from_text(text, path.parent / "inventory.yaml")
    return text, [harmless(note) for note in notes]


def _read(path: Path, program: Optional[str], dynamic: bool) -> AnsibleInventory:
    if dynamic:
        if program is None:
            raise SpecError("--dynamic needs ansible-inventory", "it is not on the PATH", "pip install ansible-core")
        return read_by_ansible(program, path, dynamic=True)
    data = read_bytes(path, INVENTORY)  # the program only gets regular files
    if program is None or data.startswith(codecs.BOM_UTF8):  # Ansible takes the mark for a part of the first word
        return read_static(path)
    try:
        return read_by_ansible(program, path)
    except SpecError as error:
        found = read_static(path)  # names the mistake with its line, or reads what Ansible cannot
        found.notes.insert(0, f"{error.what} ({error.why}), so jetlane read it by itself")
        return found


class _Import:
    def __init__(self, path: Path, found: AnsibleInventory) -> None:
        self._path, self._found = path, found
        self._lines = found.lines()
        self._notes: list[str] = list(dict.fromkeys(found.notes))

    def translate(self, wanted: Sequence[str]) -> tuple[str, list[str]]:
        for name in wanted:
            if name not in self._found.groups:
                names = ", ".join(sorted(set(self._found.groups) - {"all", "ungrouped"}))
                raise SpecError(f"{self._path} has no group {name!r}", f"it has {names}", "name one of these")
        devices: dict[str, dict[str, Any]] = {}
        of_group: dict[str, list[str]] = {name: [] for name in wanted}
        for host in self._found.order():
            device = self._device(host)
            if device is None:
                continue
            devices[host] = device
            own = [name for name in wanted if name in self._lines[host]]
            if len(own) > 1:
                raise SpecError(
                    f"{host} is in the groups {' and '.join(own)}",
                    "a device is in one group",
                    "request groups that have no host in common; every group becomes a tag anyway",
                )
            for name in own:
                of_group[name].append(host)
        if not devices:
            raise SpecError(f"{self._path} lists no hosts that are reached by SSH", "; ".join(self._notes))
        return _HEAD.format(name=harmless(self._path.name)) + _written(devices, of_group), self._notes

    def _device(self, host: str) -> Optional[dict[str, Any]]:
        values = self._found.hosts[host]
        connection = values.get("ansible_connection")
        if connection is not None and str(connection).rpartition(".")[2] not in _BY_SSH:
            self._note(f"{host} was left out: it is not reached by SSH (ansible_connection)")
            return None
        if not NAME.match(host):
            raise SpecError(
                f"the host name {host!r} cannot be a device's name", "", "give it an alias and `ansible_host`"
            )
        device: dict[str, Any] = {"host": host}
        for name in _KEYS:
            if name in values:
                self._take(device, host, name, values[name])
        for name in _ARGUMENTS:
            if name in values:
                self._take_arguments(device, host, name, values[name])
        for name in sorted(values):
            if _SECRET.match(name):
                self._note(f"{name} was left out: jetlane logs in with keys alone")
        tags = [name for name in self._lines.get(host, ()) if name not in ("all", "ungrouped")]
        for tag in tags:
            if not is_harmless(tag):
                raise SpecError(f"the group name {tag!r} of {self._path} cannot be a tag", "", "give it another name")
        return {**device, **({"tags": tags} if tags else {})}

    def _take(self, device: dict[str, Any], host: str, name: str, value: Any) -> None:
        text, key = known(value), _KEYS[name]
        if value is None or value == "" or (name == "ansible_python_interpreter" and str(value).startswith("auto")):
            return
        if text is None:
            self._note(f"{name} of {host} was left out: it is no text, or only Ansible can work out its value")
        elif key == "port":
            device[key] = self._port(host, name, text)
        elif not is_harmless(text):
            why = "it contains control characters or marks of direction"
            raise SpecError(f"{name} of {host} is {text!r}", why, f"fix it in {self._path} or the files beside it")
        else:
            device[key] = self._key_file(text) if key == "key" else text

    def _port(self, host: str, name: str, text: str) -> int:
        if not re.fullmatch(r"\s*[0-9]{1,5}\s*", text) or not 0 < int(text) < 65536:
            why = "a port is a whole number from 1 to 65535"
            raise SpecError(f"{name} of {host} is {text!r}", why, f"fix it in {self._path} or the files beside it")
        return int(text)

    def _take_arguments(self, device: dict[str, Any], host: str, name: str, value: Any) -> None:
        text = known(value)
        if text is None:
            if value is not None:
                self._note(f"{name} of {host} was left out: only Ansible can work out its value")
            return
        jump = _jump(text)
        if jump:
            device["jump"] = jump
        elif text.strip():
            shown = "" if re.search(r"pass|secret|token", text, re.IGNORECASE) else f": {text!r}"
            self._note(f"{name} was left out{shown}; move its options to the SSH configuration")

    def _key_file(self, text: str) -> str:
        return text if text.startswith(("~", "/")) else str(self._path.absolute().parent / text)

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)


def _jump(arguments: str) -> list[str]:
    """The hosts of ``-J a,b`` or ``-o ProxyJump=a,b``, where these are the only arguments."""
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
