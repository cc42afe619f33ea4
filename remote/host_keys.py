"""Host keys: their fingerprints, the refusals that name them, and the file they are pinned in."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
from typing import TYPE_CHECKING

from jetlane.remote.inventory import Device
from jetlane.remote.inventory.devices import SSH_PORT
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    import paramiko


def fingerprint(key: paramiko.PKey) -> str:
    """A key's fingerprint, as ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"SHA256:{digest} ({key.get_name()})"


def enroll_command(device: Device) -> str:
    """The command that pins a device's host key."""
    return f"jetlane device enroll {shlex.quote(device.name)} --inventory {shlex.quote(str(device.inventory))}"


def unknown(device: Device, key: paramiko.PKey) -> DeviceError:
    return DeviceError(
        f"{device.name}: the host key of {device.address} is not known",
        f"it shows {fingerprint(key)}, and {device.known_hosts} has no key for it",
        f"compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the device, then pin it:\n"
        f"  {enroll_command(device)}",
        "host_key",
    )


def changed(device: Device, key: paramiko.PKey, pinned: paramiko.PKey) -> DeviceError:
    return DeviceError(
        f"{device.name}: the host key of {device.address} has CHANGED",
        f"pinned in {device.known_hosts}: {fingerprint(pinned)}; shown now: {fingerprint(key)}. The device was "
        f"installed anew, or another machine answers in its place",
        f"only if you know why it changed, pin the new one:\n  {enroll_command(device)}",
        "host_key",
    )


def host_entry(device: Device) -> str:
    """A device's name in a known_hosts file."""
    port = device.port or SSH_PORT
    return device.host if port == SSH_PORT else f"[{device.host}]:{port}"


def _names(line: str, entry: str) -> bool:
    """Whether a line of known_hosts is about a host, also where OpenSSH wrote the name as a hash (HashKnownHosts)."""
    from paramiko.hostkeys import HostKeys

    names = line.split(" ")[0].split(",")
    return any(name == entry or (name.startswith("|1|") and HostKeys.hash_host(entry, name) == name) for name in names)


def pin(device: Device, key: paramiko.PKey) -> None:
    """Make ``key`` the only key that is trusted for a device."""
    entry = host_entry(device)
    path = device.known_hosts
    lines = path.read_text().splitlines() if path.is_file() else []
    kept = [line for line in lines if not _names(line, entry)]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text("\n".join([*kept, f"{entry} {key.get_name()} {key.get_base64()}"]) + "\n")
    os.replace(temporary, path)
