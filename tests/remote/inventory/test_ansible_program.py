"""``ansible-inventory`` where it is installed: it runs within bounds, and programs only on request.

With JETLANE_ANSIBLE_VENV=FOLDER, ansible-core is installed into that folder (if it is not there yet), and both readers
are held against each other.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.remote.inventory.test_ansible import INI, ODDITIES, YAML

from jetlane.remote.inventory import ansible_program
from jetlane.remote.inventory.ansible import from_ansible
from jetlane.remote.inventory.ansible_program import read_by_ansible
from jetlane.remote.inventory.ansible_read import AnsibleInventory, read_static
from jetlane.remote.inventory.ansible_scalars import known
from jetlane.specs.errors import SpecError

ANSWER = {
    "_meta": {"hostvars": {"a": {"ansible_port": 23, "ansible_user": {"__ansible_vault": "x"}}, "b": {}}},
    "all": {"children": ["ungrouped", "g"]},
    "g": {"hosts": ["b"], "children": ["empty"]},
    "ungrouped": {"hosts": ["a"]},
}


@pytest.fixture
def program(tmp_path: Path) -> Any:
    """Makes a stand-in for ansible-inventory of a shell script."""

    def make(script: str) -> str:
        path = tmp_path / "ansible-inventory"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
        return str(path)

    (tmp_path / "hosts").write_text("own ansible_user=me\n")
    return make


def test_the_output_of_ansible_inventory_is_used(tmp_path: Path, program: Any) -> None:
    (tmp_path / "answer").write_text(json.dumps(ANSWER))
    asked = program(f'echo "$@" > {tmp_path}/asked\ncat {tmp_path}/answer\n')
    text, notes = from_ansible(tmp_path / "hosts", [], asked)
    assert "a: {host: a, port: 23}" in text and "b:" in text and "tags: [g]" in text
    assert notes == ["ansible_user of a was left out: it is no text, or only Ansible can work out its value"]
    assert (tmp_path / "asked").read_text() == f"-i {tmp_path}/hosts --list\n"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo '[ERROR]: no \\033]0;x' >&2; exit 4", "[ERROR]: no \\x1b]0;x"),
        ("exit 3", "it ended with 3"),
        ("echo nonsense", "its answer cannot be read"),
        ("echo '[]'", "its answer cannot be read"),
        ("echo '{}'", "its answer cannot be read"),
        ("""echo '{"_meta": {"hostvars": 3}, "all": {"hosts": ["a"]}}'""", "its answer cannot be read"),
        ("""echo '{"_meta": {"hostvars": {}}, "all": 3}'""", "its answer cannot be read"),
        ("yes '[' | head -100000", "its answer cannot be read"),
        ("kill -9 $$", "it ended with -9"),
    ],
)
def test_jetlane_reads_the_file_itself_where_ansible_fails(tmp_path: Path, program: Any, script: str, why: str) -> None:
    text, notes = from_ansible(tmp_path / "hosts", [], program(script))
    assert "own:" in text and "user: me" in text
    assert why in notes[0] and "so jetlane read it by itself" in notes[0] and notes[0].isprintable()


def test_ansible_and_its_children_end_at_the_time_limit(tmp_path: Path, program: Any) -> None:
    hanging = program(f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(SpecError, match=r"did not end within 1\.5 s"):
        read_by_ansible(hanging, tmp_path / "hosts", seconds=1.5)
    child = (tmp_path / "child").read_text().strip()
    deadline = time.monotonic() + 20
    while runs(child):
        assert time.monotonic() < deadline, "its child is still running"
        time.sleep(0.05)


def runs(pid: str) -> bool:
    shown = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()
    return bool(shown) and not shown.startswith("Z")


@pytest.mark.skipif(sys.platform != "linux", reason="output and memory can be bounded on Linux alone")
def test_endless_output_is_cut(tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ansible_program, "_MOST_OUTPUT", 1 << 20)
    with pytest.raises(SpecError, match="cannot read"):
        read_by_ansible(program("sleep 0.5; exec yes"), tmp_path / "hosts", seconds=30)


def test_configuration_and_environment_are_used_only_on_request(
    tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/a/program")
    monkeypatch.setenv("ANSIBLE_INVENTORY_ENABLED", "script")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answer").write_text(json.dumps(ANSWER))
    asked = program(f"env > {tmp_path}/env\npwd > {tmp_path}/pwd\ncat {tmp_path}/answer\n")
    read_by_ansible(asked, Path("hosts"))
    given = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert "ANSIBLE_VAULT_PASSWORD_FILE" not in given and given["ANSIBLE_INVENTORY_ENABLED"] == "yaml,ini"
    assert not Path(given["ANSIBLE_CONFIG"]).exists() and (tmp_path / "pwd").read_text().strip() != str(tmp_path)
    read_by_ansible(asked, Path("hosts"), dynamic=True)
    given = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines() if "=" in line)
    assert given["ANSIBLE_VAULT_PASSWORD_FILE"] == "/a/program" and given["ANSIBLE_INVENTORY_ENABLED"] == "script"
    assert (tmp_path / "pwd").read_text().strip() == str(tmp_path)


def test_programs_are_run_only_on_request(tmp_path: Path, program: Any) -> None:
    (tmp_path / "hosts").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\necho '{{}}'\n")
    (tmp_path / "hosts").chmod(0o755)
    with pytest.raises(SpecError, match="is a program") as refused:
        from_ansible(tmp_path / "hosts", [], program("exit 1"))
    assert "--dynamic" in refused.value.remedy and not (tmp_path / "ran").exists()
    with pytest.raises(SpecError, match="--dynamic needs ansible-inventory"):
        from_ansible(tmp_path / "hosts", dynamic=True)
    with pytest.raises(SpecError, match="ansible-inventory cannot read"):
        from_ansible(tmp_path / "hosts", [], program("exit 1"), dynamic=True)


def test_only_regular_files_are_given_to_ansible(tmp_path: Path, program: Any) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(SpecError, match="is a FIFO"):
        from_ansible(tmp_path / "fifo", [], program(f"touch {tmp_path}/ran"))
    assert not (tmp_path / "ran").exists()


# both readers, with the real program


@pytest.fixture(scope="module")
def ansible() -> Iterator[str]:
    folder = os.environ.get("JETLANE_ANSIBLE_VENV")
    if not folder:
        pytest.skip("set JETLANE_ANSIBLE_VENV to a folder: ansible-core is installed there")
    found = Path(folder) / "bin" / "ansible-inventory"
    if not found.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=120)
        subprocess.run([f"{folder}/bin/pip", "install", "-q", "ansible-core"], check=True, timeout=600)
    yield str(found)


def comparable(found: AnsibleInventory) -> dict[str, Any]:
    """What of an inventory counts, in its order."""
    lines = found.lines()
    return {
        host: (
            lines[host],
            {key: known(value) for key, value in sorted(found.hosts[host].items()) if key.startswith("ansible_")},
        )
        for host in found.order()
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [("hosts", INI), ("hosts.yml", YAML), *(pytest.param(row[0], row[1], id=what) for what, row in ODDITIES.items())],
)
def test_ansible_and_jetlane_read_the_same(ansible: str, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.lstrip("\ufeff").encode("utf-8", "surrogateescape"))
    own, theirs = comparable(read_static(tmp_path / name)), comparable(read_by_ansible(ansible, tmp_path / name))
    assert list(own.items()) == list(theirs.items())


_GROUPS = st.sampled_from(["a", "b", "c", "all", "ungrouped"])
_HOSTS = st.sampled_from(["h1", "h2", "h[1:3]", "h2:2200", "x[a:b]", "h3"])
_VALUES = st.sampled_from(
    [
        "007",
        "7",
        "'7'",
        '"x"',
        "me # y",
        "0x1f",
        "1e3",
        "True",
        "None",
        "[1]",
        "{'a': 1}",
        "x y",
        "a=b",
        "''",
        "1_0",
        "(1",
        "...",
    ]
)
_NAMES = st.sampled_from(["ansible_user", "ansible_host", "ansible_ssh_user", "ansible_port", "ansible_group_priority"])


@st.composite
def inis(draw: st.DrawFn) -> str:
    lines = [f"[{group}]" for group in draw(st.lists(_GROUPS, max_size=3))]
    for _ in range(draw(st.integers(1, 8))):
        kind, group = draw(st.sampled_from(["hosts", "hosts", "vars", "children"])), draw(_GROUPS)
        if kind == "hosts":
            words = [f"{draw(_NAMES)}={draw(_VALUES)!r}" for _ in range(draw(st.integers(0, 2)))]
            lines += [f"[{group}]", " ".join([draw(_HOSTS), *words])]
        elif kind == "vars":
            lines += [f"[{group}:vars]", f"{draw(_NAMES)} = {draw(_VALUES)}"]
        else:
            lines += [f"[{group}:children]", draw(_GROUPS)]
    return "\n".join(lines) + "\n"


@seed(5)
@settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(inis())
def test_ansible_and_jetlane_read_the_same_random_ini(
    ansible: str, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("any") / "hosts"
    path.write_text(text)
    results: list[Any] = []
    for read in (lambda: read_static(path), lambda: read_by_ansible(ansible, path)):
        try:
            results.append(list(comparable(read()).items()))
        except SpecError:
            results.append("refused")
    assert results[0] == results[1]
