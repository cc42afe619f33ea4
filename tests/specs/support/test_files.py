"""Only regular files are read, within bounds, whatever a path leads to."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jetlane.specs.errors import DatasetError, SpecError
from jetlane.specs.support.files import FileKind, odd, read_bytes, read_text

KIND = FileKind("a small text", 1000, SpecError, "name another file")


@pytest.fixture(autouse=True)
def bounded_in_time() -> Iterator[None]:
    """A read that waits for ever fails its test."""

    def ended(number: int, frame: object) -> None:
        raise TimeoutError("it did not end")

    before = signal.signal(signal.SIGALRM, ended)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def place(folder: Path, what: str) -> Path:
    path = folder / "given"
    if what == "a FIFO":
        os.mkfifo(path)
    elif what == "a socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    elif what == "a folder":
        path.mkdir()
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "a disk image":
        path.touch()
        os.truncate(path, 1 << 36)
    elif what == "a circle":
        path.symlink_to(path)
    elif what == "what the kernel makes up":
        path.symlink_to("/proc/self/status")
    return path


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("a FIFO", "given is a FIFO"),
        ("a socket", "given is a socket"),
        ("a folder", "given is a folder"),
        ("a device", "given is a device"),
        ("a disk image", "given is too large: 68,719,476,736 bytes"),
        ("a circle", "given cannot be read"),
        ("what the kernel makes up", "given is no plain file"),
        ("nothing", "given: no such file"),
    ],
)
def test_what_is_no_regular_file_is_told_at_once(tmp_path: Path, what: str, said: str) -> None:
    path = place(tmp_path, what)
    with pytest.raises(SpecError, match=said) as refused:
        read_bytes(path, KIND)
    assert refused.value.exit_code == 2 and refused.value.remedy
    assert (odd(path, 1000) is None) == (what in ("a circle", "what the kernel makes up", "nothing"))


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 5000, "/proc/self/mem", ""])
def test_a_path_that_cannot_be_one_is_told(name: str) -> None:
    with pytest.raises(DatasetError):
        read_bytes(Path(name), FileKind("a label map", 1000, DatasetError))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"abc\nde\xff", ":2:3: this is not text in UTF-8: the byte 0xff"),
        (b"\n\nab\0", ":3:3: the character NUL stands here"),
        ("abc".encode("utf-16"), "is in UTF-16"),
        (b"\xef\xbb\xbf\n\0", ":2:1: the character NUL"),
        (b"x" * 1001, "is too large: 1,001 bytes"),
    ],
)
def test_what_is_no_text_is_told_with_line_and_column(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "text").write_bytes(data)
    with pytest.raises(SpecError) as refused:
        read_text(tmp_path / "text", KIND)
    assert said in refused.value.what


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xef\xbb\xbfaf\xc3\xa9\r\n")
    assert read_text(tmp_path / "text", KIND) == "afé\r\n"


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"x" * 1000)
    assert len(read_bytes(tmp_path / "text", KIND)) == 1000
