"""A graph as one of TensorBoard's event files, which are records of ``tensorflow.Event`` messages."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

from jetlane.specs.errors import ConversionError
from jetlane.specs.support.local_files import atomic_file
from jetlane.specs.support.record_frames import frame

#: Fields of ``Event`` with their wire types: wall_time (1, double), file_version (3, bytes), graph_def (4, bytes).
_WALL_TIME, _FILE_VERSION, _GRAPH_DEF = 0x09, 0x1A, 0x22


def write_graph_event(folder: Path, graph_def: bytes) -> Path:
    """Write a serialised GraphDef into a new event file of a folder.

    Raises:
        ConversionError: The folder cannot be written.
    """
    now = time.time()
    path = folder / f"events.out.tfevents.{int(now)}.jetlane.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as file:
            file.write(frame(_event(now, _FILE_VERSION, b"brain.Event:2")))
            file.write(frame(_event(now, _GRAPH_DEF, graph_def)))
    except OSError as error:
        why = error.strerror or str(error)
        raise ConversionError(f"cannot write {path}", why, "make room, or name another folder") from None
    return path


def _event(now: float, field: int, value: bytes) -> bytes:
    return bytes([_WALL_TIME]) + struct.pack("<d", now) + bytes([field]) + _varint(len(value)) + value


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
