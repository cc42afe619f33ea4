"""Connecting: host keys, login, and the errors when it fails."""

from __future__ import annotations

import json
import resource
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from click.testing import CliRunner

from jetlane.flows.cli.commands.fleet.probe import probe as fleet_probe
from jetlane.remote.device.client import probe
from jetlane.remote.device.enroll import enroll, fetch_host_key
from jetlane.remote.device.fan_out import on_each
from jetlane.remote.inventory import Device, load_inventory
from jetlane.remote.ssh import host_keys
from jetlane.remote.virtual import fleet as virtual
from jetlane.specs.errors import DeviceError


def test_an_unknown_host_key_is_refused_with_the_command_that_pins_it(reached: Device) -> None:
    device = replace(reached, known_hosts=reached.inventory.parent / "none" / "known_hosts")
    shown = host_keys.fingerprint(fetch_host_key(device))
    with pytest.raises(DeviceError, match=rf"{device.name}: the host key of {device.address} is not known") as caught:
        probe(device)
    assert shown in caught.value.why and caught.value.kind == "host_key"
    assert (
        f"jetlane device enroll {device.name} --inventory {shlex.quote(str(device.inventory))}" in caught.value.remedy
    )
    asked: list[str] = []
    assert enroll(device, lambda text: not asked.append(text)) == shown
    assert shown in asked[0] and "none is pinned yet" in asked[0]
    assert probe(device)["python"]


def test_a_changed_host_key_is_refused_until_it_is_enrolled_again(reached: Device, tmp_path: Path) -> None:
    other = paramiko.ECDSAKey.generate()
    device = replace(reached, known_hosts=tmp_path / "known_hosts")
    for pinned in (other, paramiko.RSAKey.generate(2048)):
        host_keys.pin(device, pinned)
        with pytest.raises(DeviceError, match="has CHANGED") as caught:
            probe(device)
        assert host_keys.fingerprint(pinned) in caught.value.why
        assert host_keys.fingerprint(fetch_host_key(device)) in caught.value.why
        assert "jetlane device enroll" in caught.value.remedy and caught.value.kind == "host_key"
    with pytest.raises(DeviceError, match="was not pinned"):
        enroll(device, lambda text: False)
    assert other.get_base64() not in device.known_hosts.read_text()
    asked: list[str] = []
    enroll(device, lambda text: not asked.append(text))
    assert "ANOTHER one is pinned" in asked[0]
    assert probe(device)["python"] and len(device.known_hosts.read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        ((0xFFFFFFF4).to_bytes(4, "big") + bytes(60), "it announces a packet of 4"),
        (bytes([0, 0, 0, 12, 10, 20]) + bytes(58), ""),  # a KEXINIT of nothing
        (bytes([0, 0, 0, 12, 255, 20]) + bytes(58), ""),
    ],
    ids=["endless", "empty", "padded"],
)
def test_an_invalid_greeting_gives_no_host_key(packet: bytes, why: str, reached_port: Any) -> None:
    device, server = reached_port
    threading.Thread(target=_greet, args=(server, b"SSH-2.0-OpenSSH_8.9\r\n" + packet), daemon=True).start()
    with pytest.raises(DeviceError) as caught:
        fetch_host_key(device)
    assert caught.value.kind == "unreachable" and why in caught.value.why


def _greet(server: socket.socket, words: bytes) -> None:
    link, _ = server.accept()
    with link:
        link.sendall(words)
        while link.recv(1 << 16):
            pass


@pytest.fixture
def reached_port(tmp_path: Path) -> Iterator[tuple[Device, socket.socket]]:
    """A device whose server is a socket that the test answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        listed = tmp_path / "inventory.yaml"
        listed.write_text("devices: {odd: {host: 127.0.0.1, user: x, ssh_config: false, agent: false}}\n")
        yield replace(load_inventory(listed).device("odd"), port=server.getsockname()[1]), server


def test_a_key_that_the_device_rejects_is_reported(reached: Device, tmp_path: Path) -> None:
    key = tmp_path / "other_key"
    paramiko.RSAKey.generate(2048).write_private_key_file(str(key))
    with pytest.raises(DeviceError, match=rf"{reached.address} does not accept user .* with the key {key}") as caught:
        probe(replace(reached, key=key))
    assert "authorized_keys" in caught.value.remedy and caught.value.kind == "auth"
    with pytest.raises(DeviceError, match="gone does not exist"):
        probe(replace(reached, key=tmp_path / "gone"))
    paramiko.RSAKey.generate(2048).write_private_key_file(str(tmp_path / "locked.pem"), password="secret")
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(tmp_path / "locked"), passphrase="secret")
    for locked in ("locked.pem", "locked"):
        with pytest.raises(DeviceError, match="is protected by a passphrase") as refused:
            probe(replace(reached, key=tmp_path / locked))
        assert "ssh-add" in refused.value.remedy
    (tmp_path / "text").write_text("not a key")
    with pytest.raises(DeviceError, match="text cannot be read"):
        probe(replace(reached, key=tmp_path / "text"))


def test_an_unreachable_device_is_reported(board: virtual.VirtualFleet, device: Device) -> None:
    virtual.stop(board.folder)
    with pytest.raises(DeviceError, match=rf"virtual-jetson: no SSH connection to {device.address}") as caught:
        probe(device)
    assert "the device is on" in caught.value.remedy and caught.value.kind == "unreachable"
    with pytest.raises(DeviceError, match="no SSH connection"):
        fetch_host_key(device)
    assert virtual.start(board.folder).devices == board.devices, "it comes back at the same address with the same keys"
    assert probe(device)["python"]


def test_a_server_without_ssh_is_reported(device: Device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            link.sendall(b"HTTP/1.0 400 what\r\n\r\n")
            link.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(DeviceError, match="no SSH connection"):
            probe(replace(device, port=server.getsockname()[1]))
        thread.join()


def test_a_missing_python_is_reported(reached: Device) -> None:
    with pytest.raises(DeviceError, match="no-such-python cannot be run there") as caught:
        probe(replace(reached, python="/opt/no-such-python"))
    assert "`python` in the inventory" in caught.value.remedy


def test_nothing_in_the_inventory_reaches_a_shell_unquoted(reached: Device, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    root = f"a b; touch {trap} $(touch {trap})"
    device = replace(reached, root=root if not reached.root.startswith("/") else f"{reached.root}/{root}")
    assert probe(device)["python"]
    assert not trap.exists()


def test_pinning_one_device_leaves_the_others_alone(board: virtual.VirtualFleet, device: Device) -> None:
    before = device.known_hosts.read_text()
    other = replace(device, name="b", port=2200)
    host_keys.pin(other, paramiko.RSAKey.generate(2048))
    host_keys.pin(device, fetch_host_key(device))
    lines = device.known_hosts.read_text().splitlines()
    assert len(lines) == 2 and before.strip() in lines


def test_pinning_replaces_a_hashed_name(reached: Device, tmp_path: Path) -> None:
    """OpenSSH of Debian and Ubuntu writes names as hashes; a new key must not be listed after the old one."""
    device = replace(reached, known_hosts=tmp_path / "known_hosts")
    old = paramiko.RSAKey.generate(2048)
    lines = [
        f"{paramiko.HostKeys.hash_host(name)} {old.get_name()} {old.get_base64()}"
        for name in (host_keys.host_entry(device), "another.example")
    ]
    device.known_hosts.write_text("\n".join(lines) + "\n")
    with pytest.raises(DeviceError, match="has CHANGED"):
        probe(device)
    enroll(device, lambda text: "ANOTHER one is pinned" in text)
    assert probe(device)["python"]
    assert device.known_hosts.read_text().splitlines()[0] == lines[1]


@pytest.mark.parametrize("stays", [False, True])
def test_virtual_boards_stop_with_the_process_that_started_them(tmp_path: Path, stays: bool) -> None:
    """Also when that is killed; those of `jetlane virtual-device start` stay."""
    if stays:
        (tmp_path / virtual.STAYS).touch()
    program = (
        "import sys, time; from jetlane.remote.virtual import fleet as devices\n"
        "devices.start(sys.argv[1]); print('on', flush=True)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program + "; time.sleep(600)", str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout is not None and starter.stdout.readline() == "on\n"
        fleet = virtual.find(tmp_path)
        assert fleet is not None
        starter.kill()
        starter.communicate()
        if stays:
            assert probe(load_inventory(fleet.inventory).devices[0])["python"]
            return
        deadline = time.monotonic() + 30
        while virtual.find(tmp_path) is not None:
            assert time.monotonic() < deadline, "the server outlives who started it"
            time.sleep(0.02)
    finally:
        starter.kill()
        virtual.stop(tmp_path)


def test_two_hundred_boards_in_one_process(tmp_path: Path) -> None:
    """Also where a process may open no more files than there are boards; they are as distinct as real ones."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[0], 180), limit[1]))
    try:
        fleet = virtual.start(tmp_path / "fleet", virtual.numbered(200))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    try:
        inventory = load_inventory(fleet.inventory)
        pinned = [host_keys.pinned(device).keys for device in inventory.devices[::20]]
        assert len({device.address for device in inventory.devices}) == 200
        assert len({host_keys.fingerprint(key) for (key,) in pinned}) == 10
        found = dict(on_each([*inventory.devices[:3], inventory.devices[199]], fetch_host_key))
        assert all(host_keys.pinned(device).trusts(key) for device, key in found.items())  # type: ignore[arg-type]
    finally:
        virtual.stop(fleet.folder)


def test_a_fleet_is_probed_in_parallel_and_failures_are_independent(
    board: virtual.VirtualFleet, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found is kept for selections; who was not reached is named, with the reason."""
    listed = tmp_path / "inventory.yaml"
    text = board.inventory.read_text().replace("user_key", str(board.folder / "user_key"))
    listed.write_text(text + '  "gone": {"port": 1}\n  "other": {"port": 2}\n')
    (tmp_path / "known_hosts").write_text(device.known_hosts.read_text())
    monkeypatch.chdir(tmp_path)
    asked = CliRunner().invoke(fleet_probe, ["--json"])
    shown = json.loads(asked.stdout)
    assert asked.exit_code == 1 and list(shown) == [device.name, "gone", "other"]
    assert shown["gone"]["reached"] is False and shown["gone"]["error"]["kind"] == "unreachable"
    assert shown[device.name]["reached"] and shown[device.name]["disk_free"] > 0
    assert shown[device.name]["facts"]["python"] and shown[device.name]["current"] is None
    table = CliRunner().invoke(fleet_probe, ["--select", "not (name:gone or name:other) and not jetpack > 4"])
    assert table.exit_code == 0 and device.name in table.stdout.splitlines()[1]
    with_gone = CliRunner().invoke(fleet_probe, ["--select", "name:gone"])
    assert with_gone.exit_code == 1 and "no SSH connection to 127.0.0.1:1" in with_gone.stderr


def test_many_boards_in_one_process(tmp_path: Path) -> None:
    fleet = virtual.start(tmp_path / "fleet", [f"nano-{number}" for number in range(5)])
    try:
        inventory = load_inventory(fleet.inventory)
        assert [device.name for device in inventory.devices] == [f"nano-{number}" for number in range(5)]
        assert len({host_keys.fingerprint(fetch_host_key(device)) for device in inventory.devices}) == 5
        assert virtual.start(tmp_path / "fleet", [device.name for device in inventory.devices]) == fleet
        assert virtual.start(tmp_path / "fleet", ["nano-0"]) == fleet, "who needs fewer takes none away"
        more = virtual.start(tmp_path / "fleet", ["nano-4", "nano-5"])
        assert more.devices[:5] == fleet.devices and [device.name for device in more.devices[5:]] == ["nano-5"]
        assert load_inventory(fleet.inventory).devices[:5] == inventory.devices
    finally:
        assert virtual.stop(fleet.folder)
    assert virtual.find(fleet.folder) is None and not virtual.stop(fleet.folder)
