"""Completes a device from OpenSSH's configuration, as ``ssh -G`` evaluates it, Include and Match included.

Used are HostName, Port, User, IdentityFile, ProxyJump and HostKeyAlias, each where the inventory leaves it open.
Options that decide on trust (UserKnownHostsFile, StrictHostKeyChecking ...) are never used: only the inventory's own
file of pinned keys decides that, for jump hosts as for the device.
"""

from __future__ import annotations

import functools
import getpass
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jetlane.remote.inventory import Device
from jetlane.remote.inventory.entries import hop_of
from jetlane.specs.errors import DeviceError

_SECONDS = 10.0
#: Depth of jump hosts that have jump hosts of their own.
_DEEPEST = 8
#: What `ssh -G` lists where no IdentityFile is configured.
_USUAL_KEYS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa")


def resolve(device: Device) -> Device:
    """A device with all fields filled in that its inventory leaves to the SSH configuration; ``jump`` is then a tuple.

    Raises:
        DeviceError: The configuration cannot be read, or uses a ProxyCommand.
    """
    return _resolve(device, 0)


def _resolve(device: Device, depth: int) -> Device:
    if depth > _DEEPEST:
        raise _refused(device, f"ProxyJump leads through more than {_DEEPEST} hosts, or in a circle")
    found = _asked(device) if device.ssh_config is not False else {}
    hops = device.jump
    if hops is None:
        hops = _configured_hops(device, found)
    if hops:
        # as in OpenSSH, the first hop may have jump hosts of its own
        rest = (_resolve(replace(hop, jump=()), depth + 1) for hop in hops[1:])
        first = _resolve(hops[0], depth + 1)
        hops = (*(first.jump or ()), replace(first, jump=()), *rest)
    return replace(
        device,
        host=found.get("hostname", device.host),
        port=device.port or (int(found["port"]) if "port" in found else None),
        user=device.user or found.get("user"),
        identities=_identities(found) if device.key is None else (),
        host_key_alias=found.get("hostkeyalias"),
        jump=hops,
    )


def _configured_hops(device: Device, found: Mapping[str, Any]) -> tuple[Device, ...]:
    if found.get("proxycommand", "none") != "none":
        raise _refused(device, f"it reaches {device.host} by a ProxyCommand: {found['proxycommand']}")
    text = found.get("proxyjump", "none")
    if text == "none":
        return ()
    hops = []
    for word in text.split(","):
        parts = hop_of(word[len("ssh://") :] if word.startswith("ssh://") else word)
        if parts is None:
            raise _refused(device, f"its ProxyJump {word!r} cannot be read")
        hops.append(replace(device, **{"key": None, "jump": (), **parts}))
    return (replace(hops[0], jump=None), *hops[1:])


def _identities(found: Mapping[str, Any]) -> tuple[Path, ...]:
    home = Path.home()
    named = [Path(text.replace("%d", str(home))).expanduser() for text in found.get("identityfile", ())]
    usual = {home / ".ssh" / name for name in _USUAL_KEYS}
    return tuple(path for path in named if path not in usual and path.is_file())


def _asked(device: Device) -> Mapping[str, Any]:
    program = shutil.which("ssh")
    if program is None:
        return {}
    options = ["-F", str(device.ssh_config)] if isinstance(device.ssh_config, Path) else []
    if device.port is not None:
        options += ["-p", str(device.port)]
    if device.user is not None:
        options += ["-l", device.user]
    try:
        found = _ask(program, tuple(options), device.host)
    except (OSError, subprocess.SubprocessError) as error:
        words = getattr(error, "stderr", None) or str(error)
        raise _refused(device, str(words).strip()) from error
    if "user" in found and device.user is None and found["user"] == getpass.getuser():
        return {name: value for name, value in found.items() if name != "user"}  # the local user: not configured
    return found


@functools.lru_cache(maxsize=4096)
def _ask(program: str, options: tuple[str, ...], host: str) -> Mapping[str, Any]:
    done = subprocess.run(
        [program, "-T", *options, "-G", "--", host],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    found: dict[str, Any] = {"identityfile": []}
    for line in done.stdout.splitlines():
        name, _, value = line.partition(" ")
        if name == "identityfile":
            found[name].append(value)
        else:
            found.setdefault(name, value)
    return found


def _refused(device: Device, why: str) -> DeviceError:
    return DeviceError(
        f"{device.name}: the SSH configuration for {device.host} cannot be followed",
        why,
        f"fix it, or use {device.inventory} instead: `jump` names jump hosts, `ssh_config: false` ignores the "
        f"configuration",
    )
