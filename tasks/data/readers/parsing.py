"""Texts of label files, taken apart within bounds: files, numbers, paths."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import MIB, FileKind, read_text
from jetlane.specs.support.text import harmless

#: Bytes of a label file of one image; of one of a whole data set, which is read bit by bit.
SMALL, LARGE = 16 * MIB, 4096 * MIB
#: Names of a class, characters.
_LONGEST_NAME = 200
#: Files in a folder of data.
_MOST_FILES = 5_000_000
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?")
_SPLITS = {
    "train": ("train", "training", "train2014", "train2017"),
    "validation": ("val", "valid", "validation", "val2014", "val2017", "dev", "eval"),
    "test": ("test", "testing", "test2017"),
}


class Unreadable(ValueError):
    """A label file, or a record of it, that says nothing that can be used; in words for a person."""


class BadBox(ValueError):
    """An object that is no box; in words for a person."""


def text_of(path: Path, name: str = "a label file", most: int = SMALL) -> str:
    """The text of a label file.

    Raises:
        Unreadable: No regular file, too large, not UTF-8.
    """
    try:
        return read_text(path, FileKind(name, most, DatasetError))
    except DatasetError as error:
        raise Unreadable(f"{error.what}{': ' + error.why if error.why else ''}") from error


def number(value: Any, what: str) -> float:
    """A finite number from a text or a JSON value.

    Raises:
        BadBox: It is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            found = float(value)
        except OverflowError:
            found = math.inf
    else:
        text = value.strip() if isinstance(value, str) else ""
        if len(text) > 60 or not _NUMBER.fullmatch(text):
            shown = "missing" if value is None or text == value == "" else f"{harmless(repr(value), 60)}, no number"
            raise BadBox(f"{what} is {shown}")
        found = float(text)
    if not math.isfinite(found) or abs(found) > 1e9:
        raise BadBox(f"{what} is {found:g}, not a finite number")
    return found


def whole(value: Any) -> Optional[int]:
    """A positive whole number, such as a width; None for what is none, as tools write 0 or nothing for not known."""
    try:
        found = number(value, "it")
    except BadBox:
        return None
    return int(found) if found == int(found) and 0 < found <= 1_000_000 else None


def class_name(value: Any) -> str:
    """A class as it was written, harmless and without spaces around it.

    Raises:
        BadBox: There is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    name = harmless(value.strip(), _LONGEST_NAME) if isinstance(value, str) else ""
    if not name:
        raise BadBox("it has no class")
    return name


def flag(value: Any) -> bool:
    """Truth as tools write it: 1, "1", true, yes."""
    if isinstance(value, str):
        return value.strip().lower() in ("1", "true", "yes", "t", "y")
    return value is True or (isinstance(value, (int, float)) and value > 0)


def walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, in an order that depends on names alone; hidden ones are left out, links followed.

    Raises:
        DatasetError: As ``walk_names``.
    """
    return map(Path, walk_names(folder))


def walk_names(folder: Path) -> Iterator[str]:
    """The same as texts, which are made faster.

    Raises:
        DatasetError: The folder cannot be read, or holds more files than a data set has.
    """

    def refuse(error: OSError) -> None:
        raise DatasetError(f"{error.filename} cannot be read", error.strerror or "", "check the path") from error

    seen: set[str] = set()
    count = 0
    for root, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(root)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        for name in sorted(names):
            if not name.startswith("."):
                count += 1
                if count > _MOST_FILES:
                    raise DatasetError(f"{folder} holds more than {_MOST_FILES:,} files", "", "name the data's folder")
                yield os.path.join(root, name)


def split_of(parts: Iterable[str]) -> Optional[str]:
    """``train``, ``validation`` or ``test``, where the name of a folder tells, or a word of a file's name."""
    for part in parts:
        words = re.split(r"[^a-z0-9]+", part.lower())
        for split, names in _SPLITS.items():
            if any(word in names for word in words):
                return split
    return None


def relative(path: Path, root: Path) -> str:
    """A path from a folder, with ``/``, for people and as a name."""
    return harmless(Path(os.path.relpath(path, root)).as_posix(), 1000)
