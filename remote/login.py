"""Log in to a device: host keys are strict, and every refusal says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, cast

from jetlane.remote import host_keys
from jetlane.remote.inventory import Device
from jetlane.remote.inventory.devices import SSH_PORT
from jetlane.specs.errors import DeviceError

if TYPE_CHECKING:
    import paramiko

#: Seconds for each stage of connecting.
CONNECT = 10.0


def log_in(client: paramiko.SSHClient, device: Device) -> None:
    """Connect a client to a device, trusting the pinned host keys alone.

    Raises:
        DeviceError: The device is off, its host key is unknown or changed, or it does not accept the key.
    """
    import paramiko

    client.set_missing_host_key_policy(cast("paramiko.MissingHostKeyPolicy", _Unknown(device)))
    if device.known_hosts.is_file():
        client.load_host_keys(str(device.known_hosts))

    key = _private_key(device)
    try:
        client.connect(
            device.host,
            device.port or SSH_PORT,
            username=device.user,
            pkey=key,
            allow_agent=device.agent,
            look_for_keys=device.key is None,
            timeout=CONNECT,
            banner_timeout=CONNECT,
            auth_timeout=CONNECT,
            channel_timeout=CONNECT,
            compress=False,
        )
    except paramiko.BadHostKeyException as error:
        raise host_keys.changed(device, error.key, error.expected_key) from error
    except paramiko.AuthenticationException as error:
        raise DeviceError(
            f"{device.name}: {device.address} does not accept {_identity(device)}",
            str(error),
            f"add the public key to the device's authorized_keys (ssh-copy-id), or mend `user` and `key` in "
            f"{device.inventory}",
            "auth",
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise DeviceError(
            f"{device.name}: no SSH connection to {device.address}",
            str(error) or type(error).__name__,
            f"see that the device is on and reachable, and that `host` and `port` in {device.inventory} are right",
            "unreachable",
        ) from error


def _private_key(device: Device) -> Optional[paramiko.PKey]:
    """The device's key; None where none is named, or where the SSH agent holds the one that a passphrase protects.

    Loaded here, because paramiko's own loading tries the file as one type after another and reports the last failure.
    """
    import paramiko

    if device.key is None:
        return None
    try:
        return paramiko.PKey.from_path(str(device.key))
    except (TypeError, paramiko.PasswordRequiredException) as error:  # TypeError: cryptography wants a passphrase
        if device.agent:
            return None
        raise DeviceError(
            f"{device.name}: the key {device.key} is protected by a passphrase",
            "nobody is asked for one during a delivery",
            f"load it into an SSH agent (ssh-add) and set `agent: true` in {device.inventory}",
            "auth",
        ) from error
    except FileNotFoundError as error:
        raise DeviceError(
            f"{device.name}: the key file {device.key} is not there",
            f"{device.inventory} names it",
            "mend `key` there",
            "auth",
        ) from error
    except (OSError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType) as error:
        raise DeviceError(
            f"{device.name}: the key file {device.key} cannot be read",
            str(error),
            "name a private key as `key`",
            "auth",
        ) from error


def _identity(device: Device) -> str:
    who = f"user {device.user}" if device.user else "the local user's name"
    return f"{who} with the key {device.key}" if device.key else f"{who} with any key found here"


class _Unknown:
    """Refuses a host whose key is not pinned (paramiko asks it by this method's name)."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        pinned = client.get_host_keys().lookup(hostname)
        if pinned:
            raise host_keys.changed(self._device, key, next(iter(pinned.values())))
        raise host_keys.unknown(self._device, key)
