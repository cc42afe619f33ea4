"""Logs in to a device through its jump hosts, with strict host keys."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Optional, cast

from jetlane.remote.inventory import Device
from jetlane.remote.inventory.model import SSH_PORT
from jetlane.remote.ssh import host_keys
from jetlane.remote.ssh.watchdog import Watchdog
from jetlane.specs.errors import DeviceError, JetlaneError
from jetlane.specs.support.text import harmless

if TYPE_CHECKING:
    import paramiko

#: Seconds for each stage of connecting.
CONNECT = 10.0
#: Seconds without a message after which a device is given up; its agent sends one every few seconds.
SILENCE = 60.0
#: The cheapest first (boards have AES in hardware); OpenSSH has had all of these since 6.2.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")


@contextmanager
def logged_in(device: Device, watchdog: Watchdog) -> Iterator[paramiko.SSHClient]:
    """An open login on a resolved device (``ssh_config.resolve``), for the time of a ``with`` block.

    Args:
        watchdog: Ends every wait that takes too long.

    Raises:
        DeviceError: It or a jump host is off (kind ``unreachable``), has an unknown, changed or revoked host key
            (``host_key``), or does not accept the key (``auth``).
    """
    import paramiko

    with road(device, watchdog) as link:
        client = paramiko.SSHClient()
        try:
            log_in(client, device, link)
            yield client
        finally:
            client.close()


@contextmanager
def road(device: Device, watchdog: Watchdog) -> Iterator[Any]:
    """A socket to a resolved device's SSH server, through a login on each of its jump hosts.

    Raises:
        DeviceError: As ``logged_in``.
    """
    import paramiko

    with ExitStack() as stack:
        hops = [*(device.jump or ()), device]
        link = stack.enter_context(closing(_direct(hops[0], watchdog)))
        for hop, beyond in zip(hops, hops[1:]):
            client = paramiko.SSHClient()
            stack.callback(client.close)
            log_in(client, hop, link)
            link = _through(client, hop, beyond)
        yield link


def log_in(client: paramiko.SSHClient, device: Device, link: Any) -> None:
    """Log in over a socket; only pinned host keys are trusted."""
    import paramiko

    from jetlane.remote.ssh.bounded import BoundedTransport

    client.set_missing_host_key_policy(cast("paramiko.MissingHostKeyPolicy", _PinnedOnly(device)))
    key, known = _private_key(device), host_keys.pinned(device)
    try:
        client.connect(
            device.host,
            device.port or SSH_PORT,
            username=device.user,
            pkey=key,
            key_filename=cast("Any", [str(path) for path in device.identities]),  # the stubs allow only one file
            allow_agent=device.agent,
            look_for_keys=device.key is None and not device.identities,
            timeout=CONNECT,
            banner_timeout=CONNECT,
            auth_timeout=CONNECT,
            channel_timeout=CONNECT,
            compress=False,
            sock=link,
            transport_factory=lambda *given, **options: _prefer(BoundedTransport(*given, **options), known),
        )
    except paramiko.AuthenticationException as error:
        if not _answered(client, error):
            raise _unreachable(device, error) from error
        raise DeviceError(
            f"{device.name}: {device.address} does not accept {_identity(device)}",
            harmless(error),
            f"add the public key to the device's authorized_keys (ssh-copy-id), or fix `user` and `key` in "
            f"{device.inventory}",
            "auth",
        ) from error
    except JetlaneError:
        raise
    except Exception as error:  # a malformed packet surfaces from paramiko as IndexError, KeyError ...
        raise _unreachable(device, error) from error


def _answered(client: paramiko.SSHClient, error: Exception) -> bool:
    """Whether a server refused a key; paramiko raises the same error for a lost connection."""
    transport = client.get_transport()
    return transport is not None and transport.is_active() and "timeout" not in str(error).lower()


def _prefer(transport: paramiko.Transport, known: host_keys.Pinned) -> paramiko.Transport:
    """Prefer the cheapest ciphers, and host keys of the types that are pinned."""
    options = transport.get_security_options()
    options.ciphers = [cipher for cipher in CIPHERS if cipher in options.ciphers]
    kinds = {key.get_name() for key in known.keys}
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-256", "rsa-sha2-512"}
    options.key_types = sorted(options.key_types, key=lambda kind: kind not in kinds)
    return transport


def _direct(device: Device, watchdog: Watchdog) -> socket.socket:
    """A socket connected to the first of a device's addresses that answers."""
    try:
        addresses = socket.getaddrinfo(device.host, device.port or SSH_PORT, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: an invalid name, such as `a..b`
        raise _unreachable(device, error) from error
    failed = OSError("it has no address")
    for family, kind, protocol, _, address in addresses:
        watchdog.check()
        link = socket.socket(family, kind, protocol)
        watchdog.guard(link)  # before it is connected, so that this wait ends too
        try:
            link.settimeout(CONNECT)
            link.connect(address)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # else a write to a dead link waits 15 minutes
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * SILENCE))
            return link
        except OSError as error:
            link.close()
            failed = error
    raise _unreachable(device, failed) from failed


def _through(client: paramiko.SSHClient, hop: Device, beyond: Device) -> Any:
    transport = client.get_transport()
    try:
        if transport is None:
            raise EOFError
        target = (beyond.host, beyond.port or SSH_PORT)
        return transport.open_channel("direct-tcpip", target, ("127.0.0.1", 0), timeout=CONNECT)
    except Exception as error:
        raise DeviceError(
            f"{beyond.name}: no way from {hop.address} to {beyond.address}",
            harmless(str(error) or type(error).__name__),
            f"check that {beyond.address} is on and reachable from there, and that its SSH server allows forwarding",
            "unreachable",
        ) from error


def _unreachable(device: Device, error: Exception) -> DeviceError:
    return DeviceError(
        f"{device.name}: no SSH connection to {device.address}",
        harmless(str(error) or type(error).__name__),
        how_to_reach(device),
        "unreachable",
    )


def how_to_reach(device: Device) -> str:
    """What a person does about a device that does not answer."""
    if "virtual" in device.tags and device.inventory.parent.name == "virtual":
        workspace = shlex.quote(str(device.inventory.parent.parent))
        return (
            f"a virtual Jetson is off between runs; switch it on: jetlane virtual-device start --workspace {workspace}"
        )
    return f"check that the device is on and reachable, and that `host` and `port` in {device.inventory} are right"


def _private_key(device: Device) -> Optional[paramiko.PKey]:
    """The device's key; None where none is named, or where an SSH agent is used for one with a passphrase.

    Loaded here, because paramiko tries the file as one type after another and reports only the last failure.
    """
    import paramiko

    if device.key is None:
        return None
    try:
        return paramiko.PKey.from_path(str(device.key))
    except (TypeError, paramiko.PasswordRequiredException) as error:  # TypeError: cryptography needs a passphrase
        if device.agent:
            return None
        raise DeviceError(
            f"{device.name}: the key {device.key} is protected by a passphrase",
            "a delivery cannot ask for it",
            f"load it into an SSH agent (ssh-add) and set `agent: true` in {device.inventory}",
            "auth",
        ) from error
    except FileNotFoundError as error:
        raise DeviceError(
            f"{device.name}: the key file {device.key} does not exist",
            f"{device.inventory} names it",
            "fix `key` there",
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
    keys = [device.key] if device.key else list(device.identities)
    return f"{who} with the key {', '.join(map(str, keys))}" if keys else f"{who} with any key found here"


class _PinnedOnly:
    """Decides on every host key: paramiko has no known keys, so it calls this for each."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        if not host_keys.pinned(self._device).trusts(key):
            raise host_keys.refusal(self._device, key)
