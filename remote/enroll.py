"""Enrol a device: look at its host key, and pin it once a person has said that it is the right one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from jetlane.remote import host_keys
from jetlane.remote.inventory import Device
from jetlane.remote.inventory.devices import SSH_PORT
from jetlane.remote.login import CONNECT
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    import paramiko


def fetch_host_key(device: Device) -> paramiko.PKey:
    """The host key a device shows. Nothing is sent to it but the greeting.

    Raises:
        DeviceError: It cannot be reached, or does not speak SSH.
    """
    import paramiko

    try:
        with socket.create_connection((device.host, device.port or SSH_PORT), CONNECT) as link:
            transport = paramiko.Transport(link)
            try:
                transport.banner_timeout = CONNECT
                transport.start_client(timeout=CONNECT)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise DeviceError(
            f"{device.name}: no SSH server answers at {device.address}",
            str(error) or type(error).__name__,
            "see that the device is on and reachable",
            "unreachable",
        ) from error


def enroll(device: Device, confirm: Callable[[str], bool]) -> str:
    """Pin a device's host key, replacing what was pinned for it.

    Args:
        confirm: Asked with the fingerprint and whether it is new, known or changed; False leaves all as it was.

    Returns:
        The fingerprint.

    Raises:
        DeviceError: It cannot be reached, or the person declined.
    """
    key = fetch_host_key(device)
    shown = host_keys.fingerprint(key)
    if not confirm(f"{device.name} ({device.address}) shows the host key {shown}{_standing(device, key)}"):
        raise DeviceError(f"{device.name}: its host key was not pinned", "it was declined", "nothing was changed")
    host_keys.pin(device, key)
    return shown


def _standing(device: Device, key: paramiko.PKey) -> str:
    import paramiko

    if not device.known_hosts.is_file():
        return "; none is pinned yet"
    pinned = paramiko.HostKeys(str(device.known_hosts)).lookup(host_keys.host_entry(device))
    if not pinned:
        return "; none is pinned yet"
    if any(known.asbytes() == key.asbytes() for known in pinned.values()):
        return ", which is the pinned one"
    return "; ANOTHER one is pinned: " + ", ".join(host_keys.fingerprint(known) for known in pinned.values())
