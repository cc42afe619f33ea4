"""Tables with a row for each object: TensorFlow's tutorials', Open Images', Keras-RetinaNet's without a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import odd
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers.folder import Item, boxes_or_findings, claim, images_of, size_of
from jetlane.tasks.data.readers.images import ImageIndex
from jetlane.tasks.data.readers.parsing import (
    LARGE,
    BadBox,
    Unreadable,
    class_name,
    flag,
    number,
    split_of,
    walk,
    whole,
)

#: What a column may be called, lower case without spaces and underscores.
_COLUMNS = {
    "image": ("filename", "image", "imageid", "imagepath", "path", "file", "imagename", "filepath", "img"),
    "label": ("class", "label", "labelname", "classname", "name", "category"),
    "xmin": ("xmin", "x1", "left"), "ymin": ("ymin", "y1", "top"),
    "xmax": ("xmax", "x2", "right"), "ymax": ("ymax", "y2", "bottom"),
    "width": ("width", "imagewidth"), "height": ("height", "imageheight"),
    "occluded": ("isoccluded", "occluded"), "truncated": ("istruncated", "truncated"),
    "crowd": ("isgroupof", "iscrowd"), "difficult": ("difficult", "isdifficult"), "split": ("split", "set", "subset"),
}  # fmt: skip
_NEEDED = ("image", "label", "xmin", "ymin", "xmax", "ymax")
_EDGES = ("xmin", "ymin", "xmax", "ymax")
#: Keras-RetinaNet: path, x1, y1, x2, y2, class.
_HEADERLESS = {"image": 0, "xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4, "label": 5}
_MACHINE_ID = re.compile(r"/[mgt]/[\w]+")


@dataclass
class _Image:
    line: int
    rows: list[tuple[int, Sequence[str]]] = field(default_factory=list)


def read(place: Place) -> Iterator[Item]:
    """Images of a table, or of all tables in a folder.

    Raises:
        DatasetError: There is no table, or one whose columns are not known.
    """
    given = place.annotations or place.root
    files = [path for path in walk(given) if path.suffix.lower() in (".csv", ".tsv")] if given.is_dir() else [given]
    names = {}
    tables = []
    for path in files:
        described = _descriptions(path) if len(files) > 1 else {}
        names.update(described)
        if not described:
            tables.append(path)
    if not tables:
        raise DatasetError(f"{given} holds no table", "no .csv file", "check the path")
    images = images_of(place)
    used: dict[Path, str] = {}
    for path in tables:
        yield from _table(place, path, images, names, used)


def _table(
    place: Place, path: Path, images: ImageIndex, names: Mapping[str, str], used: dict[Path, str]
) -> Iterator[Item]:
    columns: dict[str, int] = {}
    found: dict[str, _Image] = {}
    greatest = 0.0
    try:
        for line, row in _rows(path):
            if not columns:
                columns, is_header = _columns(path, row)
                if is_header:
                    continue
            if len(row) <= columns["image"] or not row[columns["image"]].strip():
                yield Finding("bad_box", f"{path}:{line}", f"the row has {len(row)} fields and names no image")
                continue
            image = found.setdefault(row[columns["image"]].strip(), _Image(line))
            if any(row[columns[name]].strip() for name in (*_EDGES, "label") if len(row) > columns[name]):
                image.rows.append((line, row))
                greatest = max(greatest, _greatest(row, columns))
    except Unreadable as error:
        if not found:
            raise DatasetError(f"{path} cannot be read as a table", str(error), "save it as CSV in UTF-8") from error
        yield Finding("unreadable_labels", str(path), str(error))
    split = place.split or split_of([path.stem])
    for written, image in found.items():
        where = f"{path}:{image.line}"
        file, wrong = claim(images, written, path, where, used)
        yield from wrong
        if file is None:
            continue
        records = [(f":{line}", partial(_box, row, columns, names)) for line, row in image.rows]
        boxes, findings = boxes_or_findings(records, str(path))
        yield from findings
        sides = [whole(_field(image.rows[0][1], columns, side)) if image.rows else None for side in ("width", "height")]
        told = split_of([_field(image.rows[0][1], columns, "split") or ""]) if image.rows else None
        name = images.name(file)
        yield LabelledImage(
            name, ImageFile(file), tuple(boxes), where, place.shown, size_of(*sides),
            fractions=0 < greatest <= 1.0, split=place.split or told or split or split_of(Path(name).parts[:-1]),
        )  # fmt: skip


def _box(row: Sequence[str], columns: Mapping[str, int], names: Mapping[str, str]) -> Box:
    if len(row) <= max(columns[name] for name in _NEEDED):
        raise BadBox(f"the row has {len(row)} fields, the table has at least {max(columns.values()) + 1}")
    label = class_name(row[columns["label"]])
    label = names.get(label, label)
    xmin, ymin, xmax, ymax = (number(row[columns[edge]], f"{edge} of {label}") for edge in _EDGES)
    difficult, occluded, truncated, crowd = (
        flag(_field(row, columns, name)) for name in ("difficult", "occluded", "truncated", "crowd")
    )
    return Box(xmin, ymin, xmax, ymax, label, difficult, occluded, truncated, crowd)


def _field(row: Sequence[str], columns: Mapping[str, int], name: str) -> Optional[str]:
    place = columns.get(name)
    return row[place] if place is not None and place < len(row) else None


def _greatest(row: Sequence[str], columns: Mapping[str, int]) -> float:
    values = [0.0]
    for edge in _EDGES:
        try:
            values.append(number(_field(row, columns, edge), edge))
        except BadBox:
            continue
    return max(values)


def columns_of(path: Path) -> dict[str, int]:
    """Where the columns of a table are.

    Raises:
        DatasetError: It is no table of boxes.
        Unreadable: It is no table.
    """
    for _, row in _rows(path):
        return _columns(path, row)[0]
    raise Unreadable("it is empty")


def _columns(path: Path, row: Sequence[str]) -> tuple[dict[str, int], bool]:
    """Where each column is, and whether the row is a header."""
    words = [re.sub(r"[\s_#]", "", word.lower()) for word in row]
    columns: dict[str, int] = {}
    for name, called in _COLUMNS.items():
        place = next((words.index(word) for word in called if word in words), None)
        if place is not None:
            columns[name] = place
    missing = [name for name in _NEEDED if name not in columns]
    if not missing:
        return columns, True
    if len(row) == 6 and len(missing) == len(_NEEDED) and _numbers_or_nothing(row[1:5]):
        return dict(_HEADERLESS), False
    raise DatasetError(
        f"{path}: the columns {', '.join(missing)} are missing",
        f"its first row is: {harmless(','.join(row), 200)}",
        "give it the header filename,width,height,class,xmin,ymin,xmax,ymax",
    )


def _numbers_or_nothing(fields: Sequence[str]) -> bool:
    try:
        return all(not word.strip() or number(word, "it") is not None for word in fields)
    except BadBox:
        return False


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line, fields) of the rows that are not empty; the separator is found out.

    Raises:
        Unreadable: No table.
    """
    strange = odd(path, LARGE)
    if strange is not None:
        raise Unreadable(f"it is {strange}, not a file of at most {LARGE:,} bytes")
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            first = file.readline(1 << 20)
            file.seek(0)
            separator = max(",;\t", key=first.count)
            reader: Any = csv.reader(file, delimiter=separator)
            for row in reader:
                if any(word.strip() for word in row):
                    yield reader.line_num, row
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8 text") from error
    except csv.Error as error:
        raise Unreadable(f"line {reader.line_num}: {error}") from error
    except OSError as error:
        raise Unreadable(str(error.strerror)) from error


def _descriptions(path: Path) -> dict[str, str]:
    """Open Images' names of its classes (/m/01g317,Person); nothing where the table is another."""
    names = {}
    try:
        for count, (_, row) in enumerate(_rows(path)):
            if len(row) != 2 or not (_MACHINE_ID.fullmatch(row[0].strip()) or count == 0):
                return {}
            names[row[0].strip()] = row[1].strip()
    except Unreadable:
        return {}
    return names
