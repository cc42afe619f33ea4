"""The devices and groups of an inventory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from jetlane.specs.errors import SpecError

SSH_PORT = 22

#: Results of the last probe of each device, by name.
Facts = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Device:
    """One device of an inventory.

    Attributes:
        host: Name or address, or a `Host` of the SSH configuration.
        port: None: what the SSH configuration says, or 22.
        user: Who to log in as. None: what the SSH configuration says, or the local user.
        key: Private key file. None: what the SSH configuration says, or keys of an SSH agent and of ~/.ssh.
        agent: Whether a running SSH agent is used.
        known_hosts: File of pinned host keys. Only keys in it are trusted.
        root: The agent's folder on the device; a relative one starts in the user's home.
        python: The interpreter on the device that has its tensorrt.
        tags: For people, and for selecting devices.
        group: Name of its group; empty when it is in none.
        jump: Jump hosts, the first one first. None: what the SSH configuration says.
        preflight: Whether converted models are built and run on it before any device gets them.
        ssh_config: Whether the SSH configuration of this machine fills in what the inventory leaves open; or the file
            to read in its place.
        inventory: The file this device was read from.
        identities: Private key files that the SSH configuration names; filled in by ``jetlane.remote.ssh.config``.
        host_key_alias: The name its host keys are pinned by, likewise.
    """

    name: str
    host: str
    inventory: Path
    known_hosts: Path
    port: Optional[int] = None
    user: Optional[str] = None
    key: Optional[Path] = None
    agent: bool = True
    root: str = "jetlane"
    python: str = "python3"
    tags: tuple[str, ...] = ()
    group: str = ""
    jump: Optional[tuple[Device, ...]] = None
    preflight: bool = False
    ssh_config: Union[bool, Path] = True
    identities: tuple[Path, ...] = ()
    host_key_alias: Optional[str] = None

    @property
    def address(self) -> str:
        """``host:port``, as the inventory has it."""
        return f"{self.host}:{self.port or SSH_PORT}"


@dataclass(frozen=True)
class Group:
    """Devices that belong together: a site, a kind of board.

    Attributes:
        pool: Prefect work pool whose workers are next to them; None when they are reached from this machine.
    """

    name: str
    pool: Optional[str] = None


@dataclass(frozen=True)
class Inventory:
    """The devices of one file, in its order.

    Attributes:
        groups: By name.
    """

    path: Path
    devices: tuple[Device, ...]
    groups: Mapping[str, Group] = field(default_factory=dict)

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
