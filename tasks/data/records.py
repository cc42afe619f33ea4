"""TFRecord files without tensorflow."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.local_files import atomic_file
from jetlane.specs.support.record_frames import frame, masked_crc

_GZIP = b"\x1f\x8b"
_LFS = b"version https://git-lfs"


def write_records(path: Path, payloads: Iterable[bytes]) -> int:
    """Write a record file, whole or not at all.

    Returns:
        The number of records.
    """
    count = 0
    with atomic_file(path) as file:
        for payload in payloads:
            file.write(frame(payload))
            count += 1
    return count


def read_records(path: Path) -> Iterator[bytes]:
    """The payloads of a record file, every checksum verified.

    Raises:
        DatasetError: As ``read_frames``.
    """
    return (payload for _, payload in read_frames(path))


def read_frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """(where it starts in the file, payload) of each record, every checksum verified.

    Raises:
        DatasetError: The file is missing, no TFRecord file, cut short or altered; says at which record and byte.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below: only opening it is tried here
    except OSError as error:
        raise DatasetError(f"{path} cannot be read", error.strerror or "", "check the path of the data set") from error
    with file:
        number, size = 0, os.fstat(file.fileno()).st_size
        while True:
            start = file.tell()
            header = file.read(12)
            if not header:
                return
            if number == 0:
                _refuse_other_formats(path, header + file.read(16))
                file.seek(12)
            if len(header) < 12:
                raise _broken(path, number, start, "the file ends inside a record's header")
            if masked_crc(header[:8]) != header[8:]:
                raise _broken(path, number, start, "the checksum of the record's length does not match")
            (length,) = struct.unpack("<Q", header[:8])
            if length > size - start:  # before so much memory is asked for
                raise _broken(path, number, start, "the file ends inside a record")
            payload, check = file.read(length), file.read(4)
            if len(payload) < length or len(check) < 4:
                raise _broken(path, number, start, "the file ends inside a record")
            if masked_crc(payload) != check:
                raise _broken(path, number, start, "the checksum of the record's data does not match")
            yield start + 12, payload
            number += 1


def _refuse_other_formats(path: Path, start: bytes) -> None:
    if start.startswith(_LFS):
        raise DatasetError(f"{path} is a Git LFS pointer, not the data", "it was never fetched", "run: git lfs pull")
    if start.startswith(_GZIP):
        raise DatasetError(
            f"{path} is compressed",
            "the OD API's input reader takes plain TFRecord files",
            "decompress it (gunzip), or write the records without compression",
        )


def _broken(path: Path, number: int, start: int, why: str) -> DatasetError:
    return DatasetError(
        f"{path}: record {number} (at byte {start}) cannot be read",
        why,
        "copy or write the file again; a file that never was a TFRecord file fails at record 0",
    )
