"""Inventories taken over from Ansible."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.files import write_files

from jetlane.flows.cli.commands.inventory import inventory
from jetlane.remote.inventory import Inventory, load_inventory
from jetlane.remote.inventory.ansible import from_ansible
from jetlane.remote.inventory.select import select_devices
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
def test_hosts_groups_and_connection_variables_are_converted(tmp_path: Path, name: str, text: str) -> None:
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
    assert [device.name for device in select_devices(found, "site_a and not nanos")] == ["orin-a.site", "orin-b.site"]


def test_requested_groups_become_groups(tmp_path: Path) -> None:
    found, _, _ = taken_over(tmp_path, "hosts", INI, "nanos", "orins")
    assert set(found.groups) == {"nanos", "orins"}
    assert {device.group for device in select_devices(found, "site_a")} == {"nanos", "orins"}
    assert found.device("lonely").group == ""
    with pytest.raises(SpecError, match="has no group 'nano'"):
        from_ansible(tmp_path / "hosts", ["nano"])
    with pytest.raises(SpecError, match="is in the groups site_a and nanos"):
        from_ansible(tmp_path / "hosts", ["site_a", "nanos"])


def test_variables_beside_the_file_are_read_and_vaults_are_not(tmp_path: Path) -> None:
    write_files(
        tmp_path,
        {
            "group_vars/all.yml": "ansible_user: all\nansible_port: 1",
            "group_vars/nanos/main.yml": "ansible_user: nanos",
            "group_vars/nanos/vault.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162",
            "host_vars/b": "ansible_user: {me: [1]}\nansible_host: '{{ lookup }}'",
            "host_vars/c.yaml": "ansible_user: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162",
        },
    )
    found, notes, _ = taken_over(tmp_path, "hosts", "[nanos]\na\nc\n[nanos:vars]\nansible_ssh_args=-C -v\n")
    assert [(device.user, device.port) for device in found.devices] == [("nanos", 1), (None, 1)]
    assert any("vault.yml was left out" in note for note in notes)
    assert any(note.startswith("ansible_user of c was left out") for note in notes)
    assert any(note.startswith("ansible_ssh_args was left out: '-C -v'") for note in notes)


#: File, text, and what is made of it: per host its address, port, user and tags.
ODDITIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "INI takes Python literals, and 007 is none": (
        "hosts",
        "a ansible_user=007 ansible_port='22'\nb ansible_user=0x10\nc ansible_user=\"'x y'\"\nd ansible_user=7\n",
        {"a": ("a", 22, "007", ()), "b": ("b", 22, "16", ()), "c": ("c", 22, "x y", ()), "d": ("d", 22, "7", ())},
    ),
    "a section's values keep their comments unless they are literals": (
        "hosts",
        "a\n[ungrouped:vars]\nansible_user=me # you\nansible_port=23 # ssh\n",
        {"a": ("a", 23, "me # you", ())},
    ),
    "a host's line ends at #": (
        "hosts", "a ansible_user=x#y\n; b\n  # c\nd # e\n", {"a": ("a", 22, "x", ()), "d": ("d", 22, None, ())},
    ),
    "ranges have steps, zeros and letters": (
        "hosts", "n[08:10]\nx[0:3:2]\ny[a:b].z[1:1]:2200\n",
        {**{name: (name, 22, None, ()) for name in ("n08", "n09", "n10", "x0", "x2")},
         "ya.z1": ("ya.z1", 2200, None, ()), "yb.z1": ("yb.z1", 2200, None, ())},
    ),
    "a host twice keeps the last word of each variable": (
        "hosts", "a:24 ansible_user=x\n[g]\na:25 ansible_user=y\na ansible_host=h\n", {"a": ("h", 24, "y", ("g",))},
    ),
    "old names win over new ones, as in Ansible's ssh": (
        "hosts", "a ansible_ssh_host=old ansible_host=new ansible_ssh_user=u ansible_ssh_port=23\n",
        {"a": ("old", 23, "u", ())},
    ),
    "the deeper group wins, then the one of higher priority, then the later name": (
        "hosts",
        "[a]\nh\n[b]\nh\n[top:children]\na\nb\n[top:vars]\nansible_user=top\nansible_host=top\nansible_port=1\n"
        "[a:vars]\nansible_user=a\nansible_host=a\nansible_group_priority=9\n[b:vars]\nansible_user=b\nansible_port=2\n",
        {"h": ("a", 2, "a", ("top", "a", "b"))},
    ),
    "groups may be declared after they are spoken of": (
        "hosts", "[top:children]\ng\n[g:vars]\nansible_user=u\n[g]\na\n", {"a": ("a", 22, "u", ("top", "g"))},
    ),
    "comments need not be UTF-8": ("hosts", "# caf\udce9\na\n", {"a": ("a", 22, None, ())}),
    "a byte order mark is no part of the first host": ("hosts.ini", "\ufeffa\n", {"a": ("a", 22, None, ())}),
    "YAML as Ansible reads it has octal numbers": (
        "hosts.yml", "all: {hosts: {a: {ansible_user: 007, ansible_port: 0026}, b: {ansible_user: '007'}}}\n",
        {"a": ("a", 22, "7", ()), "b": ("b", 22, "007", ())},
    ),
    "groups and hosts may be null, members one word": (
        "hosts.yml", "all:\n  hosts:\n    a:\n  children:\n    g:\n    k: {hosts: b, vars: }\n",
        {"a": ("a", 22, None, ()), "b": ("b", 22, None, ("k",))},
    ),
    "a JSON file is YAML": (
        "hosts.json", '{"all": {"hosts": {"a": {"ansible_port": 23}}}}', {"a": ("a", 23, None, ())},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ODDITIES)
def test_values_are_read_like_ansible_reads_them(tmp_path: Path, what: str) -> None:
    name, text, wanted = ODDITIES[what]
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (tmp_path / "inventory.yaml").write_text(from_ansible(tmp_path / name)[0])
    found = load_inventory(tmp_path / "inventory.yaml")
    assert {d.name: (d.host, d.port or 22, d.user, d.tags) for d in found.devices} == wanted


def test_templates_are_left_out_with_a_note(tmp_path: Path) -> None:
    text = """\
all:
  vars: {ansible_ssh_common_args: -o ProxyCommand="sshpass -p geheim ssh gate"}
  hosts:
    a: {ansible_user: '{{ who }}', ansible_host: !unsafe 'x{% y %}', ansible_ssh_pass: geheim, ansible_port: 23}
    b: {ansible_user: [x], ansible_host: , ansible_private_key: geheim}
    c:
      ansible_user: !vault |
        $ANSIBLE_VAULT;1.1;AES256
        6162
"""
    found, notes, written = taken_over(tmp_path, "hosts.yml", text)
    assert [(device.host, device.port, device.user) for device in found.devices] == [
        ("a", 23, None), ("b", None, None), ("c", None, None)
    ]  # fmt: skip
    said = "\n".join(notes)
    for what in ("ansible_user of a", "ansible_host of a", "ansible_user of b", "ansible_user of c"):
        assert f"{what} was left out" in said
    for what in ("ansible_ssh_pass", "ansible_private_key", "ansible_ssh_common_args"):
        assert f"{what} was left out" in said
    assert "geheim" not in said + written


#: By the file's name: what is in it, and what the error says.
REFUSED = {
    "hosts.yml": [
        ("- a\n- b\n", r"hosts\.yml:1:1: an Ansible inventory is a mapping of groups, this is a list"),
        ("just words\n", "this is a word"),
        ("", "this is nothing"),
        ("all:\n  hosts: [a]\n", r":2:10: hosts of the group 'all' is no mapping"),
        ("all:\n  hosts:\n    a: 3\n", r":3:8: the host 'a' is no mapping"),
        ("all:\n  hosts: {a: {x: 1, x: 2}}\n", r":2:21: the key 'x' is given twice"),
        ("all:\n  host: {a: }\n", "'host' is in the group 'all'"),
        ("g: 3\n", r":1:4: the group 'g' is no mapping"),
        ("a: {children: {b: {children: {a: }}}}\n", "in a circle: a > b > a"),
        ("all: &a {children: {b: *a}}\n", r":1:24: the alias \*a is a circle"),
        ("plugin: aws_ec2\n", "configuration of an inventory plugin"),
        ("all: {hosts: {a: !!python/name:os.system x}}\n", "the tag !!python/name:os.system"),
        ("all: {hosts: {'x[0:99999999]': }}\n", "means 100,000,000 hosts"),
        ("g: {vars: {ansible_group_priority: [1]}}\n", r":1:36: ansible_group_priority is \[1\]"),
    ],
    "hosts": [
        ("a ansible_port=ssh\n", "ansible_port of a is 'ssh'"),
        ("a ansible_port=70000\n", "ansible_port of a is '70000'"),
        (f"a ansible_port={'1' * 6000}\n", "ansible_port of a is '1111"),
        ("a ansible_user\n", r"hosts:1:1: this host cannot be read"),
        ("a ; b=1\n", r"hosts:1:1: this host cannot be read"),
        ("\n[g:var]\n", r"hosts:2:1: the section \[g:var\] is of no known kind"),
        ("[g h]\n", r"hosts:1:1: the section '\[g h\]' cannot be read"),
        ("a\n[all:vars]\nx\n", r"hosts:3:1: 'x' is no variable"),
        ("[g:children]\nh\n", r"hosts:2:1: \[g:children\] names the group 'h'"),
        ("a\n[g:vars]\nx=1\n", r"hosts:2:1: these are variables of the group 'g'"),
        ("[a:children]\nb\n[b:children]\na\n[a]\nx\n", "in a circle: a > b > a"),
        ("x[1:3:0]\n", "the range in"),
        ("x[0:999999999]\n", "means 1,000,000,000 hosts"),
        ("x[0:999][0:999]\n", "more than 10,000 hosts"),
        ("a ansible_user=\x1b[2J\n", "ansible_user of a is"),
        ("a ansible_user=\u202ex\n", "ansible_user of a is"),
        ("[g\u202e]\na\n", "the group name"),
        ("a\0\n", r"hosts:1:2: the character NUL"),
        ("a\nb\udcff\n", r"hosts:2:2: this is not text in UTF-8"),
        ("[g]\na\n[g:vars]\nansible_group_priority=first\n", r"hosts:4:1: ansible_group_priority is 'first'"),
        ("[a]\nx[1:b]\n", "the range in"),
        ("[a]\nx 'y\n", "hosts:2:1: this host cannot be read"),
        ("[a]\nx@y\n", "the host name 'x@y'"),
        ("[a]\n", "lists no hosts"),
        ("$ANSIBLE_VAULT;1.1\n", "is encrypted"),
        ("a:\n  hosts: [\n", "not valid YAML"),
    ],
    "hosts.toml": [
        ("[a]\n", "is TOML"),
    ],
}


@pytest.mark.parametrize(("name", "text", "message"), [(name, *row) for name, rows in REFUSED.items() for row in rows])
def test_errors_of_an_ansible_inventory_name_their_place(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SpecError, match=message) as refused:
        from_ansible(tmp_path / name)
    assert all(line.isprintable() for line in str(refused.value).splitlines())


def test_group_vars_are_read_as_ansible_finds_them(tmp_path: Path) -> None:
    """The first of NAME, NAME.yml, NAME.yaml, NAME.json; of a folder all but hidden files and backups."""
    write_files(
        tmp_path,
        {
            "hosts": "a\n[g]\nb ansible_user=line\n[g:vars]\nansible_user=file\nansible_host=file\nansible_port=9\n",
            "group_vars/all.yml": "ansible_host: all\nansible_port: 1",
            "group_vars/g/10.yml": "ansible_host: ten",
            "group_vars/g/sub/deeper.yaml": "ansible_port: 3",
            "group_vars/g/.hidden.yml": "ansible_port: 4",
            "group_vars/g/backup.yml~": "ansible_port: 5",
            "group_vars/g/notes.txt": "ansible_port: 6",
            "group_vars/g.yml": "ansible_port: 7",
            "group_vars/ungrouped": "ansible_user: ungrouped",
            "host_vars/b.json": '{"ansible_python_interpreter": "/py"}',
        },
    )
    (tmp_path / "inventory.yaml").write_text(from_ansible(tmp_path / "hosts")[0])
    found = load_inventory(tmp_path / "inventory.yaml")
    assert [(d.name, d.host, d.port, d.user, d.python) for d in found.devices] == [
        ("a", "all", 1, "ungrouped", "python3"),
        ("b", "ten", 3, "line", "/py"),
    ]
    os.mkfifo(tmp_path / "host_vars" / "a")
    with pytest.raises(SpecError, match="host_vars/a is a FIFO"):
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
