"""Enrols a device: pins its host key and installs the project's key, after a person has confirmed each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Optional

from jetlane.remote.agent.trust import keys
from jetlane.remote.device.client import Agent, fingerprints, open_agent
from jetlane.remote.inventory import Device
from jetlane.remote.ssh import host_keys
from jetlane.remote.ssh.config import resolve
from jetlane.remote.ssh.connection import LOGIN, AgentFailure
from jetlane.remote.ssh.login import CONNECT, how_to_reach, road
from jetlane.remote.ssh.watchdog import GivenUp, Watchdog
from jetlane.specs.errors import DeviceError
from jetlane.specs.support.text import harmless

if TYPE_CHECKING:
    import paramiko


def fetch_host_key(device: Device, given_up: Optional[GivenUp] = None) -> paramiko.PKey:
    """The host key that a device presents. Nothing but the greeting is sent to it; jump hosts are logged in to.

    Args:
        given_up: Polled all the time; the exception it returns is raised.

    Raises:
        DeviceError: It cannot be reached, or does not speak SSH.
    """
    return _fetch(resolve(device), given_up)


def _fetch(device: Device, given_up: Optional[GivenUp] = None) -> paramiko.PKey:
    from jetlane.remote.ssh.bounded import BoundedTransport

    limit = LOGIN * (1 + len(device.jump or ()))
    with (
        Watchdog(device.name, given_up) as watchdog,
        watchdog.stage("connecting", limit),
        road(device, watchdog) as link,
    ):
        try:
            transport = BoundedTransport(link)
            try:
                transport.banner_timeout = CONNECT
                transport.start_client(timeout=CONNECT)
                return transport.get_remote_server_key()
            finally:
                transport.close()
        except Exception as error:  # a malformed packet surfaces from paramiko as IndexError, KeyError ...
            raise DeviceError(
                f"{device.name}: no SSH server answers at {device.address}",
                harmless(str(error) or type(error).__name__),
                how_to_reach(device),
                "unreachable",
            ) from error


def enroll(device: Device, confirm: Callable[[str], bool]) -> str:
    """Pin a device's host key, replacing the pinned one; before it, those of its jump hosts.

    Args:
        confirm: Called with the fingerprint and whether it is new, known or changed; False changes nothing. For a jump
            host it is called only where the key is not the pinned one.

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


def install_key(
    device: Device, public: bytes, confirm: Callable[[str], bool], change: Optional[str] = None
) -> tuple[str, ...]:
    """Have a device accept the releases that a key signs, and only those of its keys.

    Args:
        public: The project's public key, 32 bytes.
        confirm: Called with the fingerprints of this key and of those on the device; False changes nothing.
        change: What to do where the device has keys of other projects: ``add`` this one, or ``replace`` them by it.

    Returns:
        The fingerprints of the keys that the device has now.

    Raises:
        DeviceError: It cannot be reached, the person declined, or it has another key and ``change`` is not given.
    """
    own = keys.fingerprint(public)
    with open_agent(device) as agent:
        known = _keys_of(agent, change)
        others = [shown for key, shown in known.items() if key != public.hex()]
        if others and change is None and public.hex() not in known:
            raise DeviceError(
                f"{device.name}: it has another project's key: {' and '.join(others)}",
                f"this project's key is {own}",
                "if this project is to share the device with the other, or is getting a new key: --add-key; if the "
                "device is to take this project's releases alone: --replace-key",
            )
        if public.hex() in known and not (others and change == "replace"):
            return tuple(known.values())
        effect = "in place of" if change == "replace" else "beside"
        beside = f", {effect} {' and '.join(others)}" if others else ""
        if not confirm(f"{device.name} will accept only releases signed by {own}{beside}"):
            raise DeviceError(
                f"{device.name}: the project's key was not installed", "it was declined", "its keys were not changed"
            )
        request = {"action": "install", "public": public.hex(), "replace": change == "replace"}
        installed = fingerprints(agent.call("keys", request))
        if installed.keys() != {public.hex()} | (set() if request["replace"] else known.keys()):
            raise DeviceError(
                f"{device.name}: it does not have the expected keys",
                f"it reports {' and '.join(installed.values()) or 'none'}",
                "find out who else enrols it; if no one does, its reports cannot be trusted: examine the board itself",
            )
        return tuple(installed.values())


def _keys_of(agent: Agent, change: Optional[str]) -> dict[str, str]:
    """Fingerprints by public key; none where the device cannot read its keys and they will be replaced."""
    try:
        return fingerprints(agent.call("keys", {"action": "list"}))
    except AgentFailure as error:
        if error.kind != "signature" or change != "replace":
            raise
        return {}


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
