"""Host keys: the known_hosts file with the pinned ones, fingerprints, and the errors that name them."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from jetlane.remote.inventory import Device
from jetlane.remote.inventory.model import SSH_PORT
from jetlane.specs.errors import DeviceError, WorkspaceError
from jetlane.specs.support.local_files import locked, write_atomic

if TYPE_CHECKING:
    import paramiko


@dataclass
class Pinned:
    """The entries of a known_hosts file for a device.

    Attributes:
        keys: Trusted.
        revoked: Never trusted, even if they are also pinned.
    """

    keys: list[paramiko.PKey] = field(default_factory=list)
    revoked: list[paramiko.PKey] = field(default_factory=list)

    def trusts(self, key: paramiko.PKey) -> bool:
        return any(known.asbytes() == key.asbytes() for known in self.keys)

    def revokes(self, key: paramiko.PKey) -> bool:
        return any(known.asbytes() == key.asbytes() for known in self.revoked)


def pinned(device: Device) -> Pinned:
    """The keys that are pinned for a device.

    Raises:
        DeviceError: A certificate authority is configured for it.
        WorkspaceError: The file cannot be read.
    """
    found = Pinned()
    for marker, key in _entries(device):
        if marker == "@cert-authority":
            raise _authority(device)
        if key is not None:
            (found.revoked if marker == "@revoked" else found.keys).append(key)
    found.keys = [key for key in found.keys if not found.revokes(key)]
    return found


def _entries(device: Device) -> Iterator[tuple[str, Optional[paramiko.PKey]]]:
    """(marker, key) of each line about a device; a key of an unknown kind is None."""
    entry = host_entry(device)
    for line in _lines(device.known_hosts):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) >= 3 and not words[0].startswith("#") and _names(words[0], entry):
            yield marker, _key(words[1], words[2])


def _lines(path: Path) -> list[str]:
    """The lines of a known_hosts file; bytes that are not UTF-8 are preserved."""
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []
    except OSError as error:
        why = error.strerror or str(error)
        raise WorkspaceError(f"the host keys in {path} cannot be read", why, "make the file readable") from error


def _key(kind: str, text: str) -> Optional[paramiko.PKey]:
    import paramiko

    try:
        return paramiko.PKey.from_type_string(kind, base64.b64decode(text))
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, ValueError):
        return None


def fingerprint(key: paramiko.PKey) -> str:
    """A key's fingerprint, as ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"SHA256:{digest} ({key.get_name()})"


def enroll_command(device: Device) -> str:
    """The command that pins a device's host key, and those of its jump hosts."""
    return f"jetlane device enroll {shlex.quote(device.name)} --inventory {shlex.quote(str(device.inventory))}"


def refusal(device: Device, key: paramiko.PKey) -> DeviceError:
    """The error for a key that is not trusted."""
    known = pinned(device)
    if known.revokes(key):
        return _revoked(device, key)
    if known.keys:
        return _changed(device, key, known.keys[0])
    return DeviceError(
        f"{device.name}: the host key of {device.address} is not known",
        f"it shows {fingerprint(key)}, and {device.known_hosts} has no key for it",
        f"compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the device, then pin it:\n"
        f"  {enroll_command(device)}",
        "host_key",
    )


def _changed(device: Device, key: paramiko.PKey, known: paramiko.PKey) -> DeviceError:
    return DeviceError(
        f"{device.name}: the host key of {device.address} has CHANGED",
        f"pinned in {device.known_hosts}: {fingerprint(known)}; shown now: {fingerprint(key)}. The device was "
        f"reinstalled, or another machine answers in its place",
        f"only if you know why it changed, pin the new one:\n  {enroll_command(device)}",
        "host_key",
    )


def _revoked(device: Device, key: paramiko.PKey) -> DeviceError:
    return DeviceError(
        f"{device.name}: the host key of {device.address} is REVOKED",
        f"it shows {fingerprint(key)}, which {device.known_hosts} marks as @revoked: the key may have been stolen",
        "give the device a new host key (`ssh-keygen -A` on it, after deleting the old one), then enroll it",
        "host_key",
    )


def _authority(device: Device) -> DeviceError:
    return DeviceError(
        f"{device.name}: host keys that a certificate authority signs are not supported",
        f"{device.known_hosts} has a @cert-authority line for {host_entry(device)}",
        f"remove that line, and pin the device's own key:\n  {enroll_command(device)}",
        "host_key",
    )


def host_entry(device: Device) -> str:
    """A device's name in a known_hosts file."""
    if device.host_key_alias is not None:
        return device.host_key_alias
    port = device.port or SSH_PORT
    return device.host if port == SSH_PORT else f"[{device.host}]:{port}"


def _names(field: str, entry: str) -> bool:
    """Whether the names of a line (patterns, negated by `!`, or hashed) match a host."""
    names = field.split(",")
    if any(name.startswith("!") and _fits(entry, name[1:]) for name in names):
        return False
    return any(_fits(entry, name) or _is(entry, name) for name in names)


def _fits(entry: str, pattern: str) -> bool:
    """Match OpenSSH's patterns, in which only * and ? are special; brackets around a host with a port are literal."""
    return fnmatchcase(entry.lower(), pattern.lower().replace("[", "[[]"))


def _is(entry: str, name: str) -> bool:
    from paramiko.hostkeys import HostKeys

    try:
        return name.lower() == entry.lower() or (name.startswith("|1|") and HostKeys.hash_host(entry, name) == name)
    except (ValueError, AssertionError, IndexError):  # not a valid hash
        return False


def pin(device: Device, key: paramiko.PKey) -> None:
    """Make ``key`` the only key that is pinned for a device by its name; lines with patterns or markers stay.

    Any number of devices may be pinned in one file at once, by threads or processes.

    Raises:
        WorkspaceError: The file cannot be written; it is unchanged.
    """
    entry = host_entry(device)
    with locked(device.known_hosts) as path:
        kept = [rest for line in _lines(path) if (rest := _without(line, entry)) is not None]
        write_atomic(path, "\n".join([*kept, f"{entry} {key.get_name()} {key.get_base64()}"]) + "\n")


def _without(line: str, entry: str) -> Optional[str]:
    """A line without a host's name; None when it had no other."""
    if not line.strip():
        return line
    field, *rest = line.split(None, 1)  # as `_entries` reads it: tabs and leading spaces too
    if field.startswith(("@", "#")):
        return line
    names = [name for name in field.split(",") if not _is(entry, name)]
    return " ".join([",".join(names), *rest]) if names else None
