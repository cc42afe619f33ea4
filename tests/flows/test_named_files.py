"""Files that a person names on a command line: whatever they turn out to be, an error says so at once."""

from __future__ import annotations

import os
import pty
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetlane.flows.cli.main import main
from jetlane.specs.errors import JetlaneError
from jetlane.tasks.converter.dropin.command import main as convert_to_uff

#: Commands that read FILE before they do anything else.
COMMANDS = [
    "spec check FILE",
    "run FILE",
    "deploy FILE good.config --to good.yaml",
    "deploy good.pb FILE --to good.yaml",
    "deploy good.pb good.config --to FILE",
    "deploy good.pb good.config --to good.yaml --label-map FILE",
    "convert FILE good.config -o out",
    "convert FILE good.config --explain",
    "plugins FILE",
    "inventory list --inventory FILE",
    "inventory import-ansible FILE",
    "fleet probe --inventory FILE",
    "device probe nano --inventory FILE",
    "key show --signing-key FILE",
]
#: These look at such a file only when they come to it, after work of their own.
LATE = ("deploy good.pb", "deploy FILE")
OTHER_KINDS = ["fifo", "device", "folder", "socket", "disk image"]
CONTENTS = {
    "garbage": random.Random(1).randbytes(200_000),
    "zeros": bytes(200_000),
    "NUL": b"name: a\n\0",
    "lone high bytes": b"\xff\xfe\xfd\xfc",
    "escape sequences": b"\x1b]0;owned\x07\x1b[2J\n",
    "nothing": b"",
}


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder with good neighbours of the bad file; what waits for ever fails its test."""

    def ended(number: int, frame: object) -> None:
        raise TimeoutError("it did not end")

    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text("devices: {nano: {host: 10.0.0.1}}\n")
    Path("good.config").write_text("model { ssd { num_classes: 1 } }\n")
    Path("good.pb").write_bytes(b"\n\x06\n\x01x\x12\x01y")
    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def make(what: str) -> None:
    path = Path("bad")
    if what == "fifo":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        import socket

        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif what == "disk image":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.write_bytes(CONTENTS[what])


def answer(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of the file, on stderr."""
    with pytest.raises(SystemExit) as ended:
        main(command.replace("FILE", "bad").split())
    said = capsys.readouterr()
    assert ended.value.code in (1, 2), said
    assert said.err.startswith("error: ") and "Traceback" not in said.err
    assert all(line.isprintable() for line in said.err.splitlines())
    return said.err


@pytest.mark.parametrize("what", OTHER_KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_regular_file_is_refused(command: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    if (command.split()[:2], what) == (["deploy", "FILE"], "folder"):
        pytest.skip("a folder is a SavedModel, which the run freezes")
    make(what)
    said = answer(command, capsys)
    assert "bad" in said or "saved_model" in said


@pytest.mark.parametrize("what", CONTENTS)
@pytest.mark.parametrize("command", [command for command in COMMANDS if not command.startswith(LATE)])
def test_what_cannot_be_read_is_refused(command: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(what)
    answer(command, capsys)


@pytest.mark.parametrize("what", [*OTHER_KINDS, *CONTENTS])
@pytest.mark.parametrize("command", ["bad", "good.pb -p bad"])
def test_convert_to_uff_refuses_it_too(command: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    make(what)
    with pytest.raises(SystemExit) as ended:
        convert_to_uff(command.split())
    assert ended.value.code == 1 and "error: " in capsys.readouterr().err


@pytest.mark.parametrize("what", [*OTHER_KINDS, *CONTENTS])
def test_releases_label_maps_and_uff_files_are_refused_too(what: str) -> None:
    from jetlane.remote.release.folder import read_release
    from jetlane.tasks.converter.uff.files import read_uff
    from jetlane.tasks.data.labels import read_label_map

    make(what)
    Path("release").mkdir()
    Path("bad").rename("release/manifest.json")
    for read, path in ((read_release, "release"), (read_label_map, "release/manifest.json")):
        with pytest.raises(JetlaneError):
            read(Path(path))
    with pytest.raises(JetlaneError):
        read_uff(Path("release/manifest.json"))


NASTY = "\x1b]52;c;cm0=\x07\u202e[bold]x[/]\ud800"
QUOTES = {
    "a spec": ('name: a\ndataset: {shapes: {}}\n"\\e]0;x\\a\\u202e": 1\nworkspace: "\\e[2J"\n', ["spec", "check"]),
    "an inventory": ('devices:\n  "\\e[2J\\u202e": {host: x}\n', ["inventory", "list", "--inventory"]),
    "a tag": ('devices:\n  a: {host: x, tags: ["\\u2066"]}\n', ["inventory", "list", "--inventory"]),
    "an Ansible inventory": ("a ansible_user=\x1b[2J\u202e\n", ["inventory", "import-ansible"]),
    "a pipeline.config": ('model { ssd { \x1b[2J: "\u202e" } }\n', ["plugins"]),
}


@pytest.mark.parametrize("what", QUOTES)
def test_a_terminal_gets_no_control_characters(what: str) -> None:
    text, command = QUOTES[what]
    Path("quoted").write_text(text, "utf-8")
    shown = on_terminal([*command, "quoted"])
    assert shown.replace("\x1b[31m\x1b[1merror: \x1b[0m", "error: ").startswith("error: ")
    plain = shown.replace("\x1b[31m\x1b[1m", "").replace("\x1b[1m", "").replace("\x1b[0m", "").replace("\r\n", "\n")
    assert all(line.isprintable() for line in plain.split("\n")), repr(plain)


def test_words_of_the_command_line_are_harmless_too() -> None:
    for line in ("\x1b[2J", "spec \x1b]0;x\x07", "spec check --\x9b2J", "spec check \u202e\udcff"):
        words = line.split()
        shown = on_terminal(words).replace("\x1b[31m\x1b[1m", "").replace("\x1b[1m", "").replace("\x1b[0m", "")
        assert all(line.isprintable() for line in shown.replace("\r\n", "\n").split("\n")), repr(shown)


def on_terminal(words: list[str]) -> str:
    """What a terminal gets."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "jetlane", *words], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    got = b""
    try:
        while chunk := os.read(ours, 65536):
            got += chunk
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    assert process.wait(60) == 2
    return got.decode("utf-8")


def test_errors_are_harmless_from_the_beginning() -> None:
    error = JetlaneError(f"what {NASTY}", f"why {NASTY}", "line one\nline two" + "x" * 100_000)
    assert "\\x1b]52" in error.what and "\\u202e[bold]x[/]\\ud800" in error.why
    assert all(line.isprintable() for line in str(error).splitlines())
    assert "line one\nline two" in error.remedy and len(error.remedy) <= 8000
    str(error).encode("utf-8")
