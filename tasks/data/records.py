"""TFRecord files without tensorflow.

A record is: length (uint64, little endian), masked CRC-32C of those 8 bytes, payload, masked CRC-32C of the payload.
The mask is ``((crc >> 15) | (crc << 17)) + 0xa282ead8`` modulo 2**32 (tensorflow/core/lib/hash/crc32c.h).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.local_files import atomic_file

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


def frame(payload: bytes) -> bytes:
    """One record as it stands in the file."""
    length = struct.pack("<Q", len(payload))
    return length + _masked_crc(length) + payload + _masked_crc(payload)


def read_records(path: Path) -> Iterator[bytes]:
    """The payloads of a record file, every checksum verified.

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
            if _masked_crc(header[:8]) != header[8:]:
                raise _broken(path, number, start, "the checksum of the record's length does not match")
            (length,) = struct.unpack("<Q", header[:8])
            if length > size - start:  # before so much memory is asked for
                raise _broken(path, number, start, "the file ends inside a record")
            payload, check = file.read(length), file.read(4)
            if len(payload) < length or len(check) < 4:
                raise _broken(path, number, start, "the file ends inside a record")
            if _masked_crc(payload) != check:
                raise _broken(path, number, start, "the checksum of the record's data does not match")
            yield payload
            number += 1


def _masked_crc(data: bytes) -> bytes:
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


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
