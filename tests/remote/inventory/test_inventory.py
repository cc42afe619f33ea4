"""The inventory: what it says, and how it names a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.files import write_marked

from jetlane.remote.inventory import Inventory, load_inventory
from jetlane.remote.inventory.facts import BoardFacts, board_facts, jetpack_of
from jetlane.remote.inventory.select import select_devices
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


# The mark ^ is where the error is.
@pytest.mark.parametrize(
    ("marked", "message"),
    [
        ("devices:\n  a: {host: x, ^prot: 3}\n", "unknown key devices.a.prot"),
        ("devices:\n  a: {host: x, port: ^many}\n", "port: given 'many', allowed: a whole number, at least 1"),
        ("devices:\n  a:\n    host: x\n    port: ^99999\n", "port: given 99999"),
        ("devices:\n  ^a:\n    user: me\n", "the device a has no host"),
        ("devices:\n  ^a b: {host: x}\n", "the name 'a b'"),
        ("devices: ^{}\n", "lists no devices"),
        ("^defaults: {}\n", "lists no devices"),
        ("^device: {}\n", "unknown key device; did you mean devices?"),
        ("^- a\n", "an inventory is a mapping, this is a list"),
        ("devices:\n  a: {host: x, tags: ^nano}\n", "tags: given 'nano', allowed: a list"),
        ("devices:\n  a: {host: ^[x]}\n", "host: given a list"),
        ("devices:\n  a: {host: x}\n  ^a: {host: y}\n", "given twice"),
        ("devices: {a\n^", "not valid YAML"),
        ('devices:\n  ^"\\e[2J": {host: x}\n', "the name '\\x1b[2J'"),
        ('devices:\n  a: {host: ^"\\u202ex"}\n', "host: given '\\u202ex'"),
        ("devices:\n  a: {host: ^-oProxyCommand=x}\n", "host: given '-oProxyCommand=x'"),
        ("devices:\n  a: {host: ^a b}\n", "host: given 'a b'"),
        ("devices:\n  a: {host: x, jump: ^-oX@y}\n", "jump: given '-oX@y'"),
        ('devices:\n  a: {host: x, tags: [a, ^"\\e"]}\n', "tags.1: given '\\x1b'"),
        ("devices:\n  a: {host: x, tags: [^~]}\n", "tags.0: given nothing"),
        ("devices:\n  a: {host: x, user: ^" + "y" * 2000 + "}\n", "user: given 'yyy"),
        ("devices:\n  a: {host: x, port: ^1e400}\n", "1e400 is too large"),
        ("devices:\n  a: {host: x, key: ^/dev/zero}\n", "key: given '/dev/zero', allowed: a file"),
        ("devices:\n  a: {host: x, known_hosts: ^.}\n", "known_hosts: given '.', allowed: a file;"),
        ("devices:\n  a: {host: x, ssh_config: ^/dev/null}\n", "ssh_config: given '/dev/null'"),
        ("devices:\n  ^7: {user: x}\n", "the device 7 has no host"),
        ("devices:\n  7: {host: x}\n  ^'7': {host: x}\n", "given twice"),
        ("groups:\n  g: {^pol: x, devices: {a: {host: x}}}\n", "unknown key groups.g.pol; did you mean pool?"),
        ("groups:\n  g: {pool: ^[x], devices: {a: {host: x}}}\n", "pool: given a list"),
        ("groups:\n  ^g g: {devices: {a: {host: x}}}\n", "the name 'g g'"),
        ("groups:\n  g: {devices: ^[a]}\n", "groups.g.devices: given a list, allowed: a mapping"),
        ("devices:\n  a: {host: x}\ngroups:\n  g: {devices: {^a: {host: y}}}\n", "a is given twice"),
        ("devices:\n  a: {host: x, jump: ^'a b'}\n", "jump: given 'a b'"),
        ("devices:\n  a: {host: x, jump: ^gate:99999}\n", "jump: given 'gate:99999'"),
        ("devices:\n  a: {host: x, jump: ^{b: c}}\n", "jump: given a mapping"),
        ("devices:\n  a: {host: x}\njumps:\n  ^g: {user: y}\n", "the jump host g has no host"),
        ("devices:\n  a: {host: x}\njumps:\n  g: {host: y, ^tags: [z]}\n", "unknown key jumps.g.tags"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path: Path, marked: str, message: str) -> None:
    path = tmp_path / "inventory.yaml"
    place = write_marked(path, marked)
    with pytest.raises(SpecError) as caught:
        load_inventory(path)
    assert caught.value.what.startswith(f"{place}: ") and message in caught.value.what


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text("devices:\n  a: {host: x, port: 0}\n  7: {hots: y}\ngroups:\n  g: ~\n")
    with pytest.raises(SpecError) as caught:
        load_inventory(path)
    lines = caught.value.what.splitlines()
    assert [line.removeprefix(f"{path}:").partition(" ")[0] for line in lines] == ["2:22:", "3:7:", "5:6:"]
    assert "devices.7.hots; did you mean host?" in lines[1] and "groups.g: given nothing" in lines[2]
    assert caught.value.why == "3 mistakes in all"


@pytest.mark.parametrize("nothing", ["~", "{}", "[]", '""', "0", "no"])
def test_sections_without_content_may_be_written_in_any_way(tmp_path: Path, nothing: str) -> None:
    path = tmp_path / "inventory.yaml"
    sections = "".join(f"{name}: {nothing}\n" for name in ("defaults", "jumps"))
    group = f"groups: {{g: {{pool: ~, defaults: {nothing}, devices: {nothing}}}}}\n"
    path.write_text(f"{sections}devices: {{a: {{host: x}}}}\n{group}")
    (device,) = load_inventory(path).devices
    assert device.name == "a" and load_inventory(path).groups["g"].pool is None


@pytest.mark.parametrize("key", ["host", "port", "user", "key", "agent", "known_hosts", "ssh_config", "tags", "jump"])
def test_a_key_without_a_value_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "inventory.yaml"
    path.write_text(f"devices: {{a: {{host: x}}}}\ndefaults:\n  {key}:\n")
    with pytest.raises(SpecError, match=f":3:.*defaults.{key}: given nothing"):
        load_inventory(path)


def test_scalars_of_text_keys_are_read_as_written(tmp_path: Path) -> None:
    """YAML takes 007 for a number, no for a truth value, and 1.10 for 1.1."""
    (tmp_path / "inventory.yaml").write_text(
        "devices:\n  a: {host: 0x10, user: 007, tags: [1.10, no, 1e3, 2020-01-01, 12:30], key: ~nobody-here/id}\n"
    )
    (device,) = load_inventory(tmp_path / "inventory.yaml").devices
    assert (device.host, device.user) == ("0x10", "007")
    assert device.tags == ("1.10", "no", "1e3", "2020-01-01", "12:30")
    assert device.key == tmp_path / "~nobody-here/id"


FLEET = """
defaults: {user: jetson, key: id, tags: [lab]}
jumps:
  gate: {host: gate.example, user: ops, port: 2222, key: gate_key}
devices:
  bench: {host: 10.0.0.1, tags: [nano, site-b]}
groups:
  site-a:
    pool: jetson-a
    defaults: {jump: gate, python: python3.8, tags: [xavier]}
    devices:
      a-1: {host: a1}
      a-2: {host: a2, jump: ["me@one:22", "[fe80::1]:23"], python: python3}
  site-b:
    devices:
      b-1: {host: b1, tags: [xavier, old]}
      b-2: {host: b2, jump: []}
"""
BOARDS = {
    "bench": {"model": "NVIDIA Jetson Nano Developer Kit", "l4t": "32.7.1", "tensorrt": {"version": "8.2.1.8"}},
    "a-1": {"model": "Jetson-AGX", "l4t": "35.4.1", "tensorrt": {"version": "8.5.2"}, "cuda": {"runtime": 11040}},
    "a-2": {"model": "NVIDIA Jetson AGX Orin", "l4t": "36.4.0", "tensorrt": {"version": "10.3.0"}},
    "b-1": {"model": None, "l4t": None, "tensorrt": None},
}


@pytest.fixture
def fleet(tmp_path: Path) -> Inventory:
    (tmp_path / "inventory.yaml").write_text(FLEET)
    return load_inventory(tmp_path / "inventory.yaml")


def test_groups_have_defaults_and_pools_of_their_own(fleet: Inventory) -> None:
    bench, first, second, _, last = fleet.devices
    assert [device.name for device in fleet.devices] == ["bench", "a-1", "a-2", "b-1", "b-2"]
    assert [device.group for device in fleet.devices] == ["", "site-a", "site-a", "site-b", "site-b"]
    assert {name: group.pool for name, group in fleet.groups.items()} == {"site-a": "jetson-a", "site-b": None}
    assert (first.user, first.python, first.tags) == ("jetson", "python3.8", ("xavier",))
    assert (second.python, last.tags, last.python) == ("python3", ("lab",), "python3")
    assert bench.jump is None and last.jump == ()


def test_jump_hosts_come_by_name_and_by_address(fleet: Inventory) -> None:
    (gate,) = fleet.device("a-1").jump or ()
    assert (gate.host, gate.port, gate.user, gate.key) == ("gate.example", 2222, "ops", fleet.path.parent / "gate_key")
    one, two = fleet.device("a-2").jump or ()
    assert (one.host, one.port, one.user, one.key) == ("one", 22, "me", fleet.path.parent / "id")
    assert (two.host, two.port, two.user) == ("fe80::1", 23, None)
    assert two.name == "a-2" and two.known_hosts == fleet.path.parent / "known_hosts"


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("bench", "bench"),
        ("a-*", "a-1 a-2"),
        ("site-b", "bench b-1 b-2"),  # a tag and a group
        ("group:site-b", "b-1 b-2"),
        ("tag:site-b", "bench"),
        ("tag:none", ""),
        ("not tag:xavier", "bench b-2"),
        ("tag!=xavier", "bench b-2"),
        ("lab or nano and name:bench", "bench b-2"),
        ("(lab or nano) and name:b-?", "b-2"),
        ("not not not name:a-1 and group:site-a", "a-2"),
        ('"a-1" or name:"a-2"', "a-1 a-2"),
        ("not name:b-2 and jetpack >= 5", "a-1 a-2"),
        ("not name:b-2 and jetpack=5", "a-1"),
        ("not name:b-2 and jetpack != 5.1.2", "bench a-2 b-1"),
        ("not name:b-2 and jetpack<=4.6", "bench"),
        ("not name:b-2 and tensorrt>8.2 and tensorrt<10", "a-1"),
        ("not name:b-2 and (tensorrt<8.5 or tensorrt>=10)", "bench a-2"),
        ("not name:b-2 and cuda = 11.4", "a-1"),
        ("not name:b-2 and model:agx", "a-1 a-2"),
        ('not name:b-2 and model:"nano dev*kit"', "bench"),
    ],
)
def test_selects_by_names_tags_groups_and_what_boards_are(fleet: Inventory, expression: str, names: str) -> None:
    assert [device.name for device in select_devices(fleet, expression, BOARDS)] == names.split()


@pytest.mark.parametrize(
    ("expression", "column", "why"),
    [
        ("", 1, "it is empty"),
        ("tag:", 5, "ends where a value"),
        ("(nano", 6, "`)` is missing"),
        ("nano)", 5, "')' was not expected"),
        ("nano lab", 6, "'lab' was not expected"),
        ("nano and or lab", 10, "'or' was found where"),
        ("nanoo", 1, "no name, tag, group of"),
        ("lab and not group:site-c", 19, "is 'site-c'"),
        ("colour:red", 1, "not a property of devices"),
        ("jetpack:5", 9, "compared with a version"),
        ("jetpack > new", 11, "compared with a version"),
        ("name > a-1", 6, "name has no order"),
        ("lab and !", 9, "'!' cannot be read"),
        ("lab:", 5, "ends where a value"),
        ("(" * 100_000, 1, "more than 64 parentheses"),
        ("not " * 100_001, 400_005, "ends where"),
        ("jetpack > " + "9" * 10_000, 11, "compared with a version"),
    ],
)
def test_a_selection_that_cannot_be_read_says_where(fleet: Inventory, expression: str, column: int, why: str) -> None:
    with pytest.raises(SpecError, match=f"cannot be read at column {column}\n") as caught:
        select_devices(fleet, expression)
    assert why in caught.value.why


def test_a_fact_that_was_never_asked_for_is_not_guessed(fleet: Inventory) -> None:
    """`not jetpack >= 5` must not select a board that was never probed."""
    for expression in ("jetpack >= 5", "not jetpack >= 5", "model:nano"):
        with pytest.raises(SpecError, match="is not known of b-2") as caught:
            select_devices(fleet, expression, BOARDS)
        assert "jetlane fleet probe" in caught.value.remedy


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("32.1.0", "4.2"),
        ("32.2.1", "4.2.2"),
        ("32.7.1", "4.6.1"),
        ("35.6.1", "5.1.5"),
        ("36.4.7", "6.2.1"),
        ("99.1", None),
    ],
)
def test_jetpack_is_known_by_its_l4t(l4t: str, jetpack: str | None) -> None:
    assert jetpack_of(l4t) == jetpack


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"fleet\.yaml: no such file"):
        load_inventory(tmp_path / "fleet.yaml")


@pytest.mark.parametrize("odd", [7, "x", [], [{}], {"version": {}, "runtime": "x", "power_mode": 3}, True])
def test_facts_that_were_recorded_wrongly_choose_no_device(odd: object) -> None:
    """An earlier version kept whatever a board had said."""
    names = ("tensorrt", "cuda", "conditions", "model", "l4t", "memory_total")
    facts = {name: odd for name in names if not (name in ("model", "l4t") and odd == "x")}
    found = board_facts(facts)
    assert (found.jetpack, found.tensorrt, found.cuda, found.power_mode) == (None,) * 4
    assert board_facts({}) == BoardFacts(*[None] * 8)
