"""Reads the rows of a damaged SQLite file directly from its leaf pages.

SQLite finds a row from the root of the table's B-tree, so one bad inner page hides all rows below it. Events are only
ever appended, so every row in a leaf page is valid, however old the page is: all leaves are read, those of the file
and those of the committed part of its write-ahead log. The format: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Optional

_LEAF = 0x0D
_WAL_HEADER, _FRAME_HEADER = 32, 24
_WAL_MAGIC = (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")
_SIZES = tuple(2**power for power in range(9, 17))
#: Page size of jetlane's ledgers, for files whose header is damaged.
_USUAL = 4096
_INTEGERS = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Row(NamedTuple):
    """One row of a table: its key and the values of its columns; the key's own column is None."""

    key: int
    values: tuple[Any, ...]


def rows(path: Path, columns: int) -> Iterator[Row]:
    """Every row with so many columns, in the order of the pages; a row may come twice.

    Raises:
        OSError: The file cannot be read.
    """
    log_path = path.with_name(path.name + "-wal")
    with ExitStack() as stack:
        file = stack.enter_context(path.open("rb"))
        log = stack.enter_context(log_path.open("rb")) if log_path.is_file() else None
        size = _page_size(file.read(18))
        pages = _Pages(file, size, log, _logged(log, size) if log is not None else {})
        for number in range(1, os.fstat(file.fileno()).st_size // size + 2):
            yield from _leaf(pages.old(number), 100 if number == 1 else 0, pages, columns)
        for number in pages.newer:
            yield from _leaf(pages.now(number), 100 if number == 1 else 0, pages, columns)


class _Pages(NamedTuple):
    """The pages of a file, counted from 1, and newer versions of them in its log.

    They are read one by one: a damaged file may have any size.
    """

    file: BinaryIO
    size: int
    log: Optional[BinaryIO]
    newer: dict[int, int]

    def old(self, number: int) -> bytes:
        return os.pread(self.file.fileno(), self.size, (number - 1) * self.size) if number > 0 else b""

    def now(self, number: int) -> bytes:
        if self.log is None or number not in self.newer:
            return self.old(number)
        return os.pread(self.log.fileno(), self.size, self.newer[number])


def _page_size(start: bytes) -> int:
    size = int.from_bytes(start[16:18], "big")
    size = 65536 if size == 1 else size
    return size if start[:6] == b"SQLite" and size in _SIZES else _USUAL


def _logged(log: BinaryIO, size: int) -> dict[int, int]:
    """{number: offset of the page} in a write-ahead log, up to the last frame that committed a transaction."""
    head = log.read(_WAL_HEADER)
    if head[:4] not in _WAL_MAGIC or int.from_bytes(head[8:12], "big") != size:
        return {}
    salts, found, committed = head[16:24], {}, {}
    whole = os.fstat(log.fileno()).st_size
    for start in range(_WAL_HEADER, whole - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        header = os.pread(log.fileno(), _FRAME_HEADER, start)
        if header[8:16] != salts:  # left over from an earlier log
            break
        found[int.from_bytes(header[:4], "big")] = start + _FRAME_HEADER
        if int.from_bytes(header[4:8], "big"):
            committed.update(found)
            found = {}
    return committed


def _leaf(page: bytes, start: int, pages: _Pages, columns: int) -> Iterator[Row]:
    if len(page) < start + 8 or page[start] != _LEAF:
        return
    count = int.from_bytes(page[start + 3 : start + 5], "big")
    for index in range(min(count, pages.size // 4)):
        at = start + 8 + 2 * index
        cell = int.from_bytes(page[at : at + 2], "big")
        try:
            row = _row(page, cell, pages, columns)
        except (IndexError, ValueError):
            continue
        if row is not None:
            yield row


def _row(page: bytes, cell: int, pages: _Pages, columns: int) -> Optional[Row]:
    length, at = _varint(page, cell)
    key, at = _varint(page, at)
    return Row(key, values) if (values := _record(_payload(page, at, length, pages), columns)) else None


def _payload(page: bytes, at: int, length: int, pages: _Pages) -> bytes:
    """The bytes of a row: those in its leaf, and those in its chain of overflow pages."""
    size = pages.size
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    if length <= most:
        return _exactly(page[at : at + length], length)
    here = least + (length - least) % (size - 4)
    here = here if here <= most else least
    found, more = [page[at : at + here]], page[at + here : at + here + 4]
    left, seen = length - here, set()
    while left > 0:
        number = int.from_bytes(_exactly(more, 4), "big")
        next_page = b"" if number in seen else pages.now(number)
        if not next_page:
            raise ValueError("the chain of overflow pages is broken or circular")
        seen.add(number)
        found.append(next_page[4 : 4 + min(left, size - 4)])
        more, left = next_page[:4], left - (size - 4)
    return _exactly(b"".join(found), length)


def _record(payload: bytes, columns: int) -> tuple[Any, ...]:
    """The values of a row; empty when it belongs to another table."""
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < end and len(kinds) <= columns:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if len(kinds) != columns:
        return ()
    values = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in _INTEGERS:
        width = _INTEGERS[kind]
        value = int.from_bytes(_exactly(payload[at : at + width], width), "big", signed=True) if kind else None
        return value, at + width
    if kind == 7:
        import struct

        return struct.unpack(">d", _exactly(payload[at : at + 8], 8))[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError("no such kind of value")
    width = (kind - 12) // 2
    raw = _exactly(payload[at : at + width], width)
    return (raw.decode("utf-8", "replace") if kind % 2 else raw), at + width


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise ValueError("it ends too early")
    return data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9
