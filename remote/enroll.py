"""Enrol a device: look at its host key, and pin it once a person has said that it is the right one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jetlane.remote import host_keys
from jetlane.remote.inventory import Device
from jetlane.remote.login import CONNECT, road
from jetlane.remote.ssh_config import resolve
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    import paramiko


def fetch_host_key(device: Device) -> paramiko.PKey:
    """The host key a device shows. Nothing is sent to it but the greeting; hosts on the way to it are logged in to.

    Raises:
        DeviceError: It cannot be reached, or does not speak SSH.
    """
    return _fetch(resolve(device))


def _fetch(device: Device) -> paramiko.PKey:
    import paramiko

    with road(device) as link:
        try:
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
    """Pin a device's host key, replacing what was pinned for it; before it, those of the jump hosts on the way.

    Args:
        confirm: Asked with the fingerprint and whether it is new, known or changed; False leaves all as it was. Of a
            jump host it is asked only where the key is not the pinned one.

    Returns:
        The fingerprint.

    Raises:
        DeviceError: It cannot be reached, or the person declined.
    """
    target = resolve(device)
    hops = target.jump or ()
    for count, hop in enumerate(hops):
        hop = replace(hop, jump=hops[:count])
        key = _fetch(hop)
        if not host_keys.pinned(hop).trusts(key):
            _ask(hop, key, f"the jump host {hop.address}", confirm)
    key = _fetch(target)
    _ask(target, key, target.address, confirm)
    return host_keys.fingerprint(key)


def _ask(device: Device, key: paramiko.PKey, shower: str, confirm: Callable[[str], bool]) -> None:
    shown = host_keys.fingerprint(key)
    if host_keys.pinned(device).revokes(key):
        raise host_keys.refusal(device, key)
    if not confirm(f"{device.name} ({shower}) shows the host key {shown}{_standing(device, key)}"):
        raise DeviceError(
            f"{device.name}: the host key of {shower} was not pinned", "it was declined", "nothing was changed"
        )
    host_keys.pin(device, key)


def _standing(device: Device, key: paramiko.PKey) -> str:
    known = host_keys.pinned(device)
    if not known.keys:
        return "; none is pinned yet"
    if known.trusts(key):
        return ", which is the pinned one"
    return "; ANOTHER one is pinned: " + ", ".join(host_keys.fingerprint(other) for other in known.keys)
