"""YAML within bounds: what a small file may mean, and what words of it are."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetlane.specs.errors import SpecError
from jetlane.specs.support.yaml_marks import parse, read

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGE_BOMB = "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60))
#: What is written, where it is refused, and what is said.
REFUSED = {
    "aliases that mean billions": (BOMB, "", "aliases make more than 250,000 values"),
    "aliases that mean gigabytes": ("a: &a " + "x" * 100_000 + "\nb: [" + "*a," * 9000 + "]\n", ":1:4", "characters"),
    "merges that mean billions": (MERGE_BOMB, "", "aliases make more than"),
    "aliases that nest": ("".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else ''}]\n" for n in range(99)), "", "64 levels"),
    "a circle": ("a: &a\n  b: *a\n", ":2:6", "the alias *a is a circle"),
    "a circle of merges": ("a: &a\n  <<: *a\n", ":2:7", "is a circle"),
    "an alias of nothing": ("a: *b\n", ":1:4", "the alias *b names nothing"),
    "nested lists": ("[" * 1_000_000, ":1:65", "more than 64 levels deep"),
    "nested mappings": ("{a: " * 500_000, "", "more than 64 levels deep"),
    "nested dashes": ("- " * 1_000_000, "", "more than 64 levels deep"),
    "nested questions": ("? " * 1_000_000, "", "more than 64 levels deep"),
    "indented keys": ("\n".join(" " * n + "a:" for n in range(2000)), ":65:65", "more than 64 levels deep"),
    "many values": ("[" + "1," * 300_000 + "]", "", "holds more than 250,000 keys and values"),
    "many directives": ("".join(f"%TAG !a{n}! x\n" for n in range(200_000)) + "--- a\n", "", "begin with %"),
    "a long number": ("a: " + "1" * 100_000, ":1:4", "of 100,000 characters is too large"),
    "a long fraction": ("a: 0." + "1" * 100_000, ":1:4", "is too large"),
    "a long hexadecimal number": ("a: 0x" + "f" * 100_000, ":1:4", "is too large"),
    "2 to the power of 63": ("a: 9223372036854775808", ":1:4", "is too large"),
    "a number beyond floats": ("a: 1e400", ":1:4", "1e400 is too large; put it in quotes if it is text"),
    "infinity": ("a: -.inf", ":1:4", "-.inf is no finite number"),
    "not a number": ("a: .nan", ":1:4", ".nan is no finite number"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]", ":1:4", "the tag !!python/object/apply:os.system"),
    "a Python name": ("!!python/name:os.system x", ":1:1", "the tag !!python/name:os.system is not read"),
    "bytes": ("a: !!binary aGk=", ":1:4", "the tag !!binary is not read"),
    "a set": ("a: !!set {x}", ":1:4", "the tag !!set is not read"),
    "a tag of one's own": ("a: !vault x", ":1:4", "the tag !vault is not read"),
    "an empty !!int": ("a: !!int ''", ":1:4", "!!int stands before what is no such thing"),
    "a list as key": ("? [a]\n: 1", ":1:3", "stands where a key was expected"),
    "a mapping as key": ("{a: b}: c", ":1:1", "stands where a key was expected"),
    "a key twice": ("a: 1\n'a': 2", ":2:1", "the key 'a' is given twice"),
    "a number as key twice": ("1: 1\n'1': 2", ":2:1", "is given twice"),
    "a merge of no mapping": ("a: {<<: 3}", ":1:9", "takes over what is no mapping"),
    "two documents": ("a: 1\n---\nb: 2", ":2:1", "a second document begins here"),
    "NUL": ("a: b\nc: \0", ":2:4", "the control character U+0000"),
    "an escape sequence": ("a: \x1b[2J", ":1:4", "the control character U+001B"),
    "an escaped NUL": ('a: "\\0"', ":1:4", "this text holds NUL"),
    "half a character": ('a: "\\ud800"', ":1", ""),
    "tabs for spaces": ("a:\n\tb: 1", ":2:1", "not valid YAML"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_goes_beyond_is_refused_with_its_place(what: str) -> None:
    text, where, said = REFUSED[what]
    with pytest.raises(SpecError) as refused:
        parse(text, Path("f.yaml"))
    assert refused.value.what.startswith(f"f.yaml{where}") and said in refused.value.what
    assert len(str(refused.value)) < 1000 and refused.value.what.isprintable()


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """In a process of its own, which may have 300 MB."""
    for number, (text, _, _) in enumerate(REFUSED.values()):
        (tmp_path / f"{number}.yaml").write_text(text, "utf-8")
    script = (
        "import sys, resource\nfrom pathlib import Path\nfrom jetlane.specs.errors import SpecError\n"
        "from jetlane.specs.support.yaml_marks import read\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try: read(path)\n    except SpecError: continue\n    raise SystemExit(path.name)\n"
    )
    limit = 300 << 20
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 0, done.stderr


WORDS: dict[str, Any] = {
    "007": "007",
    "08": "08",
    "0o17": "0o17",
    "12:30": "12:30",
    "2020-01-01": "2020-01-01",
    "2020-01-01T10:00:00Z": "2020-01-01T10:00:00Z",
    "=": "=",
    "-.nan": "-.nan",
    "1.2.3": "1.2.3",
    "0x": "0x",
    "_1": "_1",
    ".": ".",
    "e5": "e5",
    "0": 0,
    "-0": 0,
    "+5": 5,
    "1_000_000": 1_000_000,
    "0x1F": 31,
    "9223372036854775807": 2**63 - 1,
    "1e-3": 1e-3,
    "1E3": 1000.0,
    ".5": 0.5,
    "5.": 5.0,
    "-1.5e+2": -150.0,
    "yes": True,
    "Off": False,
    "TRUE": True,
    "~": None,
    "null": None,
    "''": "",
    "'1'": "1",
    "!!str 1": "1",
    "! 1": "1",
    "!!float 1": 1.0,
    "!!int 1": 1,
}


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_what_people_mean_by_it(word: str) -> None:
    data = parse(f"a: {word}\n", Path("f")).data["a"]
    assert data == WORDS[word] and type(data) is type(WORDS[word])


def test_numbers_and_truth_values_are_kept_as_they_are_written() -> None:
    marked = parse("a: [1.10, 0x10, yes, 007, x, '5']\nb: ~\n", Path("f"))
    assert marked.texts == {("a", 0): "1.10", ("a", 1): "0x10", ("a", 2): "yes", ("b",): "~"}


def test_own_keys_win_over_merged_ones_and_earlier_merges_over_later() -> None:
    text = "d: &d {x: 1, y: 2}\na: {<<: *d, y: 3}\nb: {<<: [*d, {x: 5, z: 6}]}\nc: {'<<': 1}\n"
    data = parse(text, Path("f")).data
    assert data["a"] == {"x": 1, "y": 3} and data["b"] == {"x": 1, "y": 2, "z": 6} and data["c"] == {"<<": 1}
    assert yaml.safe_load(text.splitlines()[0] + "\n" + text.splitlines()[1])["a"] == data["a"]


def test_a_large_inventory_is_read(tmp_path: Path) -> None:
    fields = "port: 22, user: u, key: k, root: /r, python: p, known_hosts: h, agent: no, tags: [nano, a, b, c]"
    lines = (f"  nano-{n}: {{host: 10.0.0.{n % 250}, {fields}}}\n" for n in range(10_000))
    (tmp_path / "i.yaml").write_text("devices:\n" + "".join(lines))
    assert len(read(tmp_path / "i.yaml").data["devices"]) == 10_000


def test_both_parsers_of_pyyaml_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jetlane.specs.support.yaml_marks._Parser", yaml.SafeLoader)
    for text in (BOMB, "[" * 100_000, "a: &a [*a]", "- " * 100_000, 'a: "\\ud800"', "a: !!python/name:os x"):
        with pytest.raises(SpecError):
            parse(text, Path("f"))
    assert parse("a: [1, yes]", Path("f")).data == {"a": [1, True]}
