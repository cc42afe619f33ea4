"""The way to a device: through jump hosts, and as the SSH configuration says; trust stays with the inventory."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jetlane.remote.device.client import probe
from jetlane.remote.device.enroll import enroll, fetch_host_key
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh import host_keys
from jetlane.remote.ssh.config import resolve
from jetlane.remote.ssh.connection import connect
from jetlane.specs.errors import DeviceError

pytestmark = pytest.mark.sshd


def one(server: Any) -> Device:
    return load_inventory(server.inventory).device("real")


def hop(device: Device, server: Any) -> Device:
    """A server as a jump host of a device, with a key of its own."""
    return replace(device, host="127.0.0.1", port=server.port, key=server.folder / "user_key", jump=())


def pin_all(device: Device, *servers: Any) -> None:
    for server in servers:
        host_keys.pin(one(server), fetch_host_key(one(server)))
    device.known_hosts.write_text("".join((server.folder / "known_hosts").read_text() for server in servers))


def never_logged_in(server: Any) -> bool:
    return "Accepted publickey" not in (server.folder / "sshd.log").read_text()


def logins(server: Any, wanted: int) -> int:
    """How many logins are open; a server takes a moment to see the end of an earlier one."""
    deadline = time.monotonic() + 10
    while len(server.sessions()) != wanted and time.monotonic() < deadline:
        time.sleep(0.02)
    return len(server.sessions())


@pytest.fixture
def line(more_sshd: Callable[..., Any], tmp_path: Path) -> tuple[Device, Any, Any, Any]:
    """A device behind two jump hosts whose keys are pinned, and the three servers."""
    gate, second, board = (more_sshd(name) for name in ("gate", "second", "board"))
    device = replace(one(board), known_hosts=tmp_path / "known_hosts", ssh_config=False)
    device = replace(device, jump=(hop(device, gate), hop(device, second)))
    pin_all(device, gate, second, board)
    return device, gate, second, board


def test_passes_every_jump_host_and_ends_each_login(line: tuple[Device, Any, Any, Any]) -> None:
    device, *servers = line
    with connect(device):
        assert [logins(server, 1) for server in servers] == [1, 1, 1]
    assert probe(device)["python"]
    alone = replace(device, jump=device.jump[:1] if device.jump else ())
    with connect(alone):
        assert logins(servers[0], 1) == 1


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_unpinned_key_is_refused_at_every_hop(
    line: tuple[Device, Any, Any, Any], which: int, tmp_path: Path
) -> None:
    device, *servers = line
    lines = device.known_hosts.read_text().splitlines()
    device.known_hosts.write_text("\n".join(lines[:which] + lines[which + 1 :]) + "\n")
    with pytest.raises(DeviceError, match=f"host key of 127.0.0.1:{servers[which].port} is not known") as caught:
        probe(device)
    assert caught.value.kind == "host_key" and "jetlane device enroll real" in caught.value.remedy
    assert all(never_logged_in(server) for server in servers[which:])
    asked: list[str] = []
    assert enroll(device, lambda text: not asked.append(text)) == host_keys.fingerprint(fetch_host_key(device))
    others = [text for text in asked if "which is the pinned one" not in text]
    assert len(others) == 1 and f":{servers[which].port}" in others[0], (
        "the pinned hosts on the way are not asked about"
    )
    assert probe(device)["python"]


def test_a_replaced_jump_host_is_refused(line: tuple[Device, Any, Any, Any]) -> None:
    device, gate, second, board = line
    stranger = (board.folder / "known_hosts").read_text().split()[1:]
    lines = device.known_hosts.read_text().splitlines()
    device.known_hosts.write_text("\n".join([f"[127.0.0.1]:{gate.port} {' '.join(stranger)}", *lines[1:]]) + "\n")
    with pytest.raises(DeviceError, match=f"host key of 127.0.0.1:{gate.port} has CHANGED"):
        probe(device)
    assert never_logged_in(gate) and never_logged_in(second) and never_logged_in(board)


def test_a_jump_host_without_forwarding_is_reported(
    line: tuple[Device, Any, Any, Any], more_sshd: Callable[..., Any]
) -> None:
    device, gate, second, board = line
    board.stop()
    with pytest.raises(DeviceError, match=f"no way from 127.0.0.1:{second.port} to 127.0.0.1:{board.port}") as caught:
        probe(device)
    assert caught.value.kind == "unreachable"
    closed = more_sshd("closed", extra="AllowTcpForwarding no\n")
    pin_all(device, closed, second)
    through = replace(device, jump=(hop(device, closed),), port=second.port)
    with pytest.raises(DeviceError, match=f"no way from 127.0.0.1:{closed.port}") as refused:
        probe(through)
    assert refused.value.kind == "unreachable" and "allows forwarding" in refused.value.remedy
    gate.stop()
    with pytest.raises(DeviceError, match=f"no SSH connection to 127.0.0.1:{gate.port}"):
        probe(device)


@pytest.fixture
def configured(line: tuple[Device, Any, Any, Any], tmp_path: Path) -> tuple[Device, Any, Any]:
    """The same road in OpenSSH's words, spread over two files; the inventory knows an alias alone."""
    device, gate, second, board = line
    common = f"User {getpass.getuser()}\n UserKnownHostsFile /dev/null\n StrictHostKeyChecking no\n"
    hosts = [
        f"Host {name}\n HostName 127.0.0.1\n Port {server.port}\n IdentityFile {server.folder}/user_key\n {common}"
        for name, server in (("gate", gate), ("second", second), ("board", board))
    ]
    (tmp_path / "jumps").write_text("".join(hosts[:2]) + "Host second\n ProxyJump gate\n")
    (tmp_path / "config").write_text(f"Include {tmp_path}/jumps\n" + hosts[2] + "Host board\n ProxyJump second\n")
    inventory = tmp_path / "inventory.yaml"
    inventory.write_text(
        f"defaults: {{ssh_config: config, root: {device.root}, python: {device.python}, agent: false}}\n"
        "devices: {nano: {host: board}}\n"
    )
    return load_inventory(inventory).device("nano"), gate, board


def test_the_ssh_configuration_gives_routes_but_no_trust(configured: tuple[Device, Any, Any]) -> None:
    device, gate, board = configured
    found = resolve(device)
    assert (found.host, found.port, found.identities) == ("127.0.0.1", board.port, (board.folder / "user_key",))
    assert len(found.jump or ()) == 2 and next(hop.port for hop in found.jump or ()) == gate.port
    with connect(device):
        assert logins(gate, 1) == 1
    device.known_hosts.write_text("")
    with pytest.raises(DeviceError, match=f"host key of 127.0.0.1:{gate.port} is not known"):
        probe(device)
    assert enroll(device, lambda text: True)
    assert probe(device)["python"] and len(device.known_hosts.read_text().splitlines()) == 3


def test_the_inventory_takes_precedence(
    configured: tuple[Device, Any, Any], line: tuple[Device, Any, Any, Any]
) -> None:
    device, gate, board = configured
    asked = resolve(replace(device, port=99, user="other", key=Path("/k"), jump=()))
    assert (asked.port, asked.user, asked.key, asked.identities, asked.jump) == (99, "other", Path("/k"), (), ())
    direct = replace(device, jump=())
    with connect(direct):
        assert logins(gate, 0) == 0 and logins(board, 1) == 1
    assert resolve(replace(device, ssh_config=False)).host == "board"
    assert resolve(replace(device, host="elsewhere")).jump == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Host board\n ProxyCommand nc %h %p\n", "ProxyCommand: nc"),
        ("Host board\n ProxyJump a\nHost a\n ProxyJump b\nHost b\n ProxyJump a\n", "in a circle"),
        ("Host board\n Prot 3\n", "bad configuration option"),
    ],
)
def test_an_unusable_ssh_configuration_is_reported(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "config").write_text(text)
    (tmp_path / "inventory.yaml").write_text("devices: {nano: {host: board, ssh_config: config}}\n")
    with pytest.raises(DeviceError, match=r"the SSH configuration for .* cannot be followed") as caught:
        probe(load_inventory(tmp_path / "inventory.yaml").device("nano"))
    assert why in caught.value.why.lower() or why in caught.value.why
    assert "ssh_config: false" in caught.value.remedy


def test_host_key_aliases_are_used_for_pinning(line: tuple[Device, Any, Any, Any], tmp_path: Path) -> None:
    *_, board = line
    (tmp_path / "config").write_text("Host *\n HostKeyAlias nano.fleet\n")
    device = replace(one(board), known_hosts=tmp_path / "aliases", ssh_config=tmp_path / "config")
    key = (board.folder / "host_key.pub").read_text().split()
    device.known_hosts.write_text(f"nano.fleet {key[0]} {key[1]}\n")
    assert probe(device)["python"]


def test_certificate_authorities_are_refused_and_revoked_keys_too(sshd: Any, tmp_path: Path) -> None:
    device = replace(one(sshd), known_hosts=tmp_path / "known_hosts")
    pinned = (sshd.folder / "known_hosts").read_text()
    entry, kind, key = pinned.split()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = " ".join((tmp_path / "other.pub").read_text().split()[:2])

    device.known_hosts.write_text(f"{pinned}@cert-authority *.example {other}\n@revoked * {other}\n")
    assert probe(device)["python"], "lines about others change nothing"
    device.known_hosts.write_text(f"{pinned}@cert-authority [127.0.0.?]:* {other}\n")
    with pytest.raises(DeviceError, match="a certificate authority signs are not supported") as caught:
        probe(device)
    assert caught.value.kind == "host_key" and entry in caught.value.why
    for names in ("*", entry, f"elsewhere,{entry}"):
        device.known_hosts.write_text(f"{pinned}@revoked {names} {kind} {key}\n")
        with pytest.raises(DeviceError, match="is REVOKED"):
            probe(device)
        with pytest.raises(DeviceError, match="is REVOKED"):
            enroll(device, lambda text: True)
    device.known_hosts.write_text(f"*,!{entry} {kind} {key}\n")
    with pytest.raises(DeviceError, match="is not known"):
        probe(device)
    device.known_hosts.write_text(f"elsewhere,{entry} {other}\n")
    enroll(device, lambda text: "ANOTHER" in text)
    assert device.known_hosts.read_text() == f"elsewhere {other}\n{pinned}"
    assert probe(device)["python"]
