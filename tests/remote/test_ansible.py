"""Inventories taken over from Ansible."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jetlane.flows.commands.inventory import inventory
from jetlane.remote.inventory import Inventory, load_inventory
from jetlane.remote.inventory.ansible import from_ansible
from jetlane.specs.errors import SpecError

INI = """\
# the fleet
lonely ansible_host=10.9.9.9   # at the gate
[nanos]
nano[01:03] ansible_user=jetson
nano05:2222 ansible_host=10.0.0.5 ansible_python_interpreter=/usr/bin/python3.6

[orins]
orin-[a:b].site ansible_port=22 ansible_password=hunter2

[nanos:vars]
ansible_user=nobody
ansible_ssh_private_key_file=~/.ssh/nano
[site_a:children]
nanos
orins
[site_a:vars]
ansible_ssh_common_args='-o ProxyJump=ops@gate.site:2200'
ansible_ssh_private_key_file=keys/site
ansible_user=everybody
[local]
localhost ansible_connection=local
[all:vars]
ansible_become_pass=geheim
ansible_port=2022
"""
YAML = """\
all:
  vars: {ansible_become_pass: geheim, ansible_port: 2022}
  hosts:
    lonely: {ansible_host: 10.9.9.9}
  children:
    site_a:
      vars:
        ansible_ssh_common_args: -o ProxyJump=ops@gate.site:2200
        ansible_ssh_private_key_file: keys/site
        ansible_user: everybody
      children:
        nanos:
          vars: {ansible_user: nobody, ansible_ssh_private_key_file: ~/.ssh/nano}
          hosts:
            nano[01:03]: {ansible_user: jetson}
            nano05: {ansible_host: 10.0.0.5, ansible_port: 2222, ansible_python_interpreter: /usr/bin/python3.6}
        orins:
          hosts:
            orin-[a:b].site: {ansible_port: 22, ansible_password: hunter2}
    local:
      hosts: {localhost: {ansible_connection: local}}
"""


def taken_over(tmp_path: Path, name: str, text: str, *groups: str) -> tuple[Inventory, list[str], str]:
    (tmp_path / name).write_text(text)
    written, notes = from_ansible(tmp_path / name, groups)
    out = tmp_path / "inventory.yaml"
    out.write_text(written)
    return load_inventory(out), notes, written


@pytest.mark.parametrize(("name", "text"), [("hosts", INI), ("hosts.ini", INI), ("hosts.yml", YAML), ("hosts", YAML)])
def test_takes_over_hosts_groups_and_how_they_are_reached(tmp_path: Path, name: str, text: str) -> None:
    found, notes, written = taken_over(tmp_path, name, text)
    by_name = {device.name: device for device in found.devices}
    assert set(by_name) == {"lonely", "nano01", "nano02", "nano03", "nano05", "orin-a.site", "orin-b.site"}
    nano, named, orin, lonely = (by_name[name] for name in ("nano02", "nano05", "orin-b.site", "lonely"))
    assert (nano.host, nano.port, nano.user, nano.tags) == ("nano02", 2022, "jetson", ("site_a", "nanos"))
    assert nano.key == Path.home() / ".ssh/nano" and nano.python == "python3"
    assert (named.address, named.user, named.python) == ("10.0.0.5:2222", "nobody", "/usr/bin/python3.6")
    assert (orin.address, orin.user, orin.key) == ("orin-b.site:22", "everybody", tmp_path / "keys/site")
    assert [(hop.host, hop.user, hop.port) for hop in orin.jump or ()] == [("gate.site", "ops", 2200)]
    assert (lonely.address, lonely.user, lonely.jump, lonely.tags) == ("10.9.9.9:2022", None, None, ())
    assert len(notes) == 3 and any("localhost was left out" in note for note in notes)
    assert any(note.startswith("ansible_password was left out") for note in notes)
    assert "hunter2" not in written + str(notes) and "geheim" not in written + str(notes)
    assert [device.name for device in found.select("site_a and not nanos")] == ["orin-a.site", "orin-b.site"]


def test_groups_that_are_asked_for_become_groups(tmp_path: Path) -> None:
    found, _, _ = taken_over(tmp_path, "hosts", INI, "nanos", "orins")
    assert set(found.groups) == {"nanos", "orins"}
    assert {device.group for device in found.select("site_a")} == {"nanos", "orins"}
    assert found.device("lonely").group == ""
    with pytest.raises(SpecError, match="has no group 'nano'"):
        from_ansible(tmp_path / "hosts", ["nano"])
    with pytest.raises(SpecError, match="is in the groups site_a and nanos"):
        from_ansible(tmp_path / "hosts", ["site_a", "nanos"])


def test_reads_variables_beside_the_file_and_opens_no_vault(tmp_path: Path) -> None:
    for name, text in {
        "group_vars/all.yml": "ansible_user: all\nansible_port: 1",
        "group_vars/nanos/main.yml": "ansible_user: nanos",
        "group_vars/nanos/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162",
        "host_vars/b": "ansible_user: {me: [1]}\nansible_host: '{{ lookup }}'",
        "host_vars/c.yaml": "ansible_user: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found, notes, _ = taken_over(tmp_path, "hosts", "[nanos]\na\nc\n[nanos:vars]\nansible_ssh_args=-C -v\n")
    assert [(device.user, device.port) for device in found.devices] == [("nanos", 1), (None, 1)]
    assert any("vault.yml was left out" in note for note in notes)
    assert any(note.startswith("ansible_user of c was left out") for note in notes)
    assert any(note.startswith("ansible_ssh_args was left out: '-C -v'") for note in notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nx[1:b]\n", "the range in"),
        ("[a]\nx 'y\n", "hosts:2:1: this host cannot be read"),
        ("[a]\nx@y\n", "the host name 'x@y'"),
        ("[a]\n", "lists no hosts"),
        ("$ANSIBLE_VAULT;1.1\n", "is encrypted"),
        ("a:\n  hosts: [\n", "not valid YAML"),
    ],
)
def test_says_what_it_cannot_read(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(SpecError, match=message):
        from_ansible(tmp_path / "hosts")


def test_the_command_writes_a_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hosts").write_text(INI)

    def run(*words: str) -> Any:
        return CliRunner().invoke(inventory, list(words))

    done = run("import-ansible", "hosts")
    assert done.exit_code == 0 and "inventory.yaml: 7 devices" in done.output
    assert "passwords" not in done.output and "ansible_password was left out" in done.output
    again = run("import-ansible", "hosts")
    assert isinstance(again.exception, SpecError) and "is there already" in again.exception.what
    assert run("import-ansible", "hosts", "--force", "--group", "orins").exit_code == 0
    shown = run("list", "--select", "group:orins")
    assert shown.output.splitlines() == [
        "orin-a.site  orin-a.site:22  orins  site_a,orins",
        "orin-b.site  orin-b.site:22  orins  site_a,orins",
    ]
