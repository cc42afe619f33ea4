"""The inventory: what it says, and how it names a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetlane.remote.inventory import load_inventory
from jetlane.specs.errors import SpecError


def test_reads_defaults_and_paths_from_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "inventory.yaml").write_text(
        "defaults: {user: jetson, key: keys/id, port: 2200, tags: [lab]}\n"
        "devices:\n"
        "  nano-1: {host: 10.0.0.5, root: ~/models}\n"
        "  orin-1:\n"
        "    host: orin.local\n"
        "    port: 22\n"
        "    key: ~/.ssh/orin\n"
        "    agent: false\n"
        "    known_hosts: /etc/hosts.pinned\n"
        "    python: /opt/py/bin/python3\n"
        "    root: /data/jetlane\n"
        "    tags: [orin, 7]\n"
    )
    monkeypatch.chdir(tmp_path)
    inventory = load_inventory(Path("site/inventory.yaml"))
    nano, orin = inventory.devices
    assert (nano.name, nano.address, nano.user, nano.root) == ("nano-1", "10.0.0.5:2200", "jetson", "models")
    assert (nano.key, nano.known_hosts, nano.tags) == (folder / "keys" / "id", folder / "known_hosts", ("lab",))
    assert (nano.python, nano.agent) == ("python3", True)
    assert (orin.address, orin.key, orin.agent) == ("orin.local:22", tmp_path / "me" / ".ssh" / "orin", False)
    assert (orin.known_hosts, orin.root, orin.tags) == (Path("/etc/hosts.pinned"), "/data/jetlane", ("orin", "7"))
    assert inventory.device("orin-1") is orin
    with pytest.raises(SpecError, match="there is no device 'tx2'") as caught:
        inventory.device("tx2")
    assert "nano-1, orin-1" in caught.value.why


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("devices:\n  a: {host: x, prot: 3}\n", "2:16", "unknown key 'prot'"),
        ("devices:\n  a: {host: x, port: many}\n", "2:22", "port is 'many'"),
        ("devices:\n  a:\n    host: x\n    port: 99999\n", "4:11", "port is 99999"),
        ("devices:\n  a:\n    user: me\n", "2:3", "the device a has no host"),
        ("devices:\n  a b: {host: x}\n", "2:3", "the device name 'a b'"),
        ("devices: {}\n", "1:10", "lists no devices"),
        ("defaults: {}\n", "1:1", "lists no devices"),
        ("device: {}\n", "1:1", "unknown key 'device'"),
        ("- a\n", "1:1", "the inventory is not a mapping"),
        ("devices:\n  a: {host: x, tags: nano}\n", "2:22", "tags is 'nano'"),
        ("devices:\n  a: {host: [x]}\n", "2:13", "host is"),
        ("devices:\n  a: {host: x}\n  a: {host: y}\n", "3:3", "given twice"),
        ("devices: {a\n", "2:1", "not valid YAML"),
    ],
)
def test_names_file_line_and_column(tmp_path: Path, text: str, place: str, message: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as caught:
        load_inventory(path)
    assert caught.value.what.startswith(f"{path}:{place}: ") and message in caught.value.what


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"fleet\.yaml: no such file"):
        load_inventory(tmp_path / "fleet.yaml")
