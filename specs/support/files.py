"""Files that people name, read within bounds.

A path on a command line or in a spec may lead to anything: a folder, a FIFO without a writer, a device without an
end, a file under ``/proc``, a disk image. Only regular files are read, at most so many bytes of them, and whatever is
wrong becomes an error that says so.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from jetlane.specs.errors import JetlaneError, SpecError

MIB = 1 << 20
#: Bytes of any file that is read whole; the largest ones are frozen graphs, 200 MB at most.
LARGEST = 512 * MIB
_OTHER_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO (a named pipe)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0)


@dataclass(frozen=True)
class FileKind:
    """What a file is read as.

    Attributes:
        name: For sentences: ``a label map``.
        most: Largest size in bytes.
        error: Makes the error of what, why and remedy.
        remedy: What to do when it cannot be read.
    """

    name: str
    most: int
    error: Callable[[str, str, str], JetlaneError] = SpecError
    remedy: str = "check the path"


def read_bytes(path: Path, kind: FileKind) -> bytes:
    """The content of a regular file.

    Raises:
        JetlaneError: Of ``kind.error``: it is not there, not readable, no regular file, or larger than ``kind.most``.
    """
    try:
        _refuse_others(path, os.stat(path), kind)  # before it is opened, which sets some devices off
        with open(os.open(path, _FLAGS), "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_others(path, status, kind)
            data = file.read(status.st_size + 1) or b""
    except FileNotFoundError:
        raise kind.error(f"cannot read {path}: no such file", "", "check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a path with NUL or half a character
        why = getattr(error, "strerror", None) or str(error)
        raise kind.error(f"{path} cannot be read", why, kind.remedy) from None
    if len(data) > status.st_size:
        why = "it grew while it was read, or the kernel makes it up (/proc)"
        raise kind.error(f"{path} is no plain file", why, "make a copy, and name that")
    return data


def read_text(path: Path, kind: FileKind) -> str:
    """The text of a regular file in UTF-8; a byte order mark at its beginning is left out.

    Raises:
        JetlaneError: As ``read_bytes``; or it is not UTF-8, or holds NUL; with line and column.
    """
    return decoded(read_bytes(path, kind), path, kind)


def decoded(data: bytes, path: Path, kind: FileKind) -> str:
    """Bytes of a file as text; see ``read_text``."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise kind.error(f"{path} is in UTF-16", f"{kind.name} is a text file in UTF-8", "save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        raise kind.error(
            f"{path}:{position(before)}: this is not text in UTF-8: the byte 0x{data[error.start]:02x} stands here",
            f"{kind.name} is a text file in UTF-8",
            kind.remedy,
        ) from None
    if "\0" in text:
        where = position(text[: text.index("\0")])
        raise kind.error(f"{path}:{where}: the character NUL stands here", f"{kind.name} is a text file", kind.remedy)
    return text


def position(before: str) -> str:
    """``line:column``, from 1, of what follows a text."""
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def real(path: Path) -> Path:
    """A path, absolute and without links; a circle of links stays as it is, an error when it is opened."""
    return Path(os.path.realpath(path))


def odd(path: Path, most: Optional[int] = None) -> Optional[str]:
    """What stands in a path's place that is no regular file of that size (``a FIFO``); None for a file or nothing."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    if most is not None and stat.S_ISREG(status.st_mode) and status.st_size > most:
        return f"a file of {status.st_size:,} bytes"
    return next((name for is_one, name in _OTHER_KINDS if is_one(status.st_mode)), None)


def _refuse_others(path: Path, status: os.stat_result, kind: FileKind) -> None:
    for is_one, name in _OTHER_KINDS:
        if is_one(status.st_mode):
            raise kind.error(f"{path} is {name}", f"{kind.name} is a regular file", kind.remedy)
    if status.st_size > kind.most:
        what = f"{path} is too large: {status.st_size:,} bytes"
        raise kind.error(what, f"{kind.name} has at most {kind.most:,}; this may be another kind of file", kind.remedy)
