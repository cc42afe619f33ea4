"""TFRecord framing: TensorFlow's own bytes, and every kind of damage."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.records import frame, read_records, write_records

# Written by tf.io.TFRecordWriter: the records b"" and b"jetlane".
TENSORFLOW_WROTE = bytes.fromhex("000000000000000029039807d8ea82a20700000000000000bbd79f116a65746c616e6527360ada")


def test_equal_to_tensorflows_writer(tmp_path: Path) -> None:
    path = tmp_path / "x.record"
    assert write_records(path, [b"", b"jetlane"]) == 2
    assert path.read_bytes() == TENSORFLOW_WROTE
    assert list(read_records(path)) == [b"", b"jetlane"]
    assert list(tmp_path.iterdir()) == [path]


@given(payloads=st.lists(st.binary(max_size=200), max_size=5), data=st.data())
def test_any_damage_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("records") / "x.record"
    whole = b"".join(frame(payload) for payload in payloads)
    path.write_bytes(whole)
    assert list(read_records(path)) == payloads
    if not whole:
        return
    at = data.draw(st.integers(0, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    with pytest.raises(DatasetError, match=r"x\.record: record \d+ \(at byte \d+\)"):
        list(read_records(path))


@pytest.mark.parametrize("cut", [5, 13, 20, 25])
def test_a_cut_file_names_the_record(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "x.record"
    path.write_bytes(frame(b"first") + frame(b"0123456789")[:cut])
    with pytest.raises(DatasetError, match=r"record 1 \(at byte 21\)") as caught:
        list(read_records(path))
    assert "the file ends inside" in caught.value.why


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (gzip.compress(frame(b"x"), mtime=0), "compressed"),
        (b"This is a text file, not a record.", "record 0"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.record"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=says):
        list(read_records(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.record cannot be read"):
        list(read_records(tmp_path / "none.record"))


def test_nothing_is_left_of_a_file_whose_content_failed(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield b"one"
        raise DatasetError("no")

    with pytest.raises(DatasetError):
        write_records(tmp_path / "x.record", failing())
    assert not list(tmp_path.iterdir())
