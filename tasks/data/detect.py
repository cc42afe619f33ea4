"""What a folder or file looks like, by what is in it: for `init`, and for whoever gave it under another key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.files import odd
from jetlane.tasks.data.dataset_model import Place
from jetlane.tasks.data.readers import json_stream
from jetlane.tasks.data.readers.formats import FORMATS
from jetlane.tasks.data.readers.images import SUFFIXES
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, number, walk
from jetlane.tasks.data.readers.xml import root_and_children
from jetlane.tasks.data.records import read_frames

#: Files of a folder that are listed, and of those label files that are opened.
_LISTED, _OPENED = 50_000, 40
_START = 1 << 16
_LARGE = 4 << 30


@dataclass(frozen=True)
class Detected:
    """A format that a folder or file seems to have.

    Attributes:
        format: A key of ``formats.FORMATS``.
        path: The folder or file to give under that key.
        files: Label files that were seen to be of it.
        why: What speaks for it, in words.
    """

    format: str
    path: Path
    files: int
    why: str


def detect_format(path: Path) -> list[Detected]:
    """The formats that a folder or file seems to have, the likeliest first; none where it is none of them.

    Raises:
        DatasetError: The folder cannot be read.
    """
    if path.is_file():
        name, why = sniff(path)
        return [Detected(name, path, 1, why)] if name else []
    if not path.is_dir():
        return []
    counts: Counter[str] = Counter()
    reasons: dict[str, str] = {}
    for file in _sample(islice(walk(path), _LISTED)):
        name, why = sniff(file)
        if name:
            counts[name] += 1
            reasons.setdefault(name, f"{file.relative_to(path)} {why}")
    return [Detected(name, path, count, reasons[name]) for name, count in counts.most_common()]


def advice(place: Place, given: str) -> str:
    """What to write instead, where a place looks like another format than the one it was given as; else nothing."""
    try:
        found = detect_format(place.annotations or place.root)
    except DatasetError:
        return ""
    other = next((each for each in found if each.format != given), None)
    if other is None or any(each.format == given for each in found):
        return ""
    title = FORMATS[other.format].title
    return f"this looks like {title} ({other.why}): write dataset: {{{other.format}: {other.path}}}"


def advised(error: DatasetError, place: Place, given: str) -> DatasetError:
    """An error of reading a place, with that advice where there is one."""
    return DatasetError(error.what, error.why, advice(place, given) or error.remedy)


def refuse_other_records(path: Path) -> None:
    """Let a file pass that begins as a TFRecord file does.

    Raises:
        DatasetError: It does not; says what it looks like.
    """
    name, why = sniff(path)
    if name in ("", "tfrecord"):
        next(iter(read_frames(path)), None)
        return
    other = path if name in ("coco", "label_studio", "csv", "cvat") else path.parent
    raise DatasetError(
        f"{path} is no TFRecord file",
        f"it {why}: it looks like {FORMATS[name].title}",
        f"write dataset: {{{name}: {other}}}",
    )


def refuse_other_format(name: str, place: Place) -> None:
    """Let a folder or file pass that has label files of the format that it is given as.

    Raises:
        DatasetError: It has none; says what it looks like.
    """
    path = place.annotations or place.root
    found = detect_format(path)
    if any(each.format == name for each in found):
        return
    hint = advice(place, name)
    if hint:
        raise DatasetError(f"{path} holds no {FORMATS[name].title} labels", FORMATS[name].layout, hint)


def sniff(path: Path) -> tuple[str, str]:
    """(format, why) of one file; two empty texts where it is of none."""
    suffix = path.suffix.lower()
    if odd(path, _LARGE) is not None or suffix in SUFFIXES:
        return "", ""
    try:
        with open(path, "rb") as file:
            start = file.read(_START)
    except OSError:
        return "", ""
    text = start.decode("utf-8-sig", "replace").lstrip()
    if text.startswith("<"):
        return _xml(path)
    if text.startswith(("{", "[")) and suffix not in (".txt", ".pbtxt", ".config"):
        return _json(path)
    if ".record" in path.name or "tfrecord" in path.name.lower() or b"image/encoded" in start:
        return _records(path)
    lines = [line.split() for line in text.splitlines()[:20] if line.strip()]
    if suffix in (".yaml", ".yml") and any(line[0] in ("names:", "nc:") for line in lines):
        return "yolo", "names classes as YOLO's data.yaml does"
    if suffix == ".txt":
        return _text(lines)
    if suffix in (".csv", ".tsv"):
        return _table(path)
    return "", ""


def _sample(files: Iterable[Path]) -> Iterator[Path]:
    """Up to so many files of each suffix, spread over those that there are."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in SUFFIXES:
            groups.setdefault(".record" if ".record" in file.name else suffix, []).append(file)
    for found in groups.values():
        yield from found[:: max(1, len(found) // _OPENED)][:_OPENED]


def _xml(path: Path) -> tuple[str, str]:
    try:
        root = next(root_and_children(path, _LARGE), None)
    except Unreadable:
        return "", ""
    tag = root.tag if root is not None else ""
    known = {"annotation": ("voc", "is XML with <annotation>"), "annotations": ("cvat", "is XML with <annotations>")}
    return known.get(tag, ("", ""))


def _json(path: Path) -> tuple[str, str]:
    keys: set[str] = set()
    try:
        for key, item in islice(json_stream.items(path), 2000):
            if key == "" and isinstance(item, Mapping):
                is_task = "annotations" in item or "completions" in item or "label" in item or "data" in item
                return ("label_studio", "is a list of tasks") if is_task else ("", "")
            keys.add(key)
            if "shapes" in keys and keys & {"imagePath", "imageData", "version", "flags"}:
                return "labelme", "is JSON with shapes"
            if len(keys & {"images", "annotations", "categories"}) >= 2 or (
                key == "images" and isinstance(item, Mapping) and "file_name" in item
            ):
                return "coco", "is JSON with images, annotations and categories"
    except Unreadable:
        return "", ""
    return ("labelme", "is JSON with shapes") if "shapes" in keys else ("", "")


def _records(path: Path) -> tuple[str, str]:
    try:
        next(iter(read_frames(path)), None)
    except DatasetError:
        return "", ""
    return "tfrecord", "is a TFRecord file"


def _text(lines: list[list[str]]) -> tuple[str, str]:
    if not lines:
        return "", ""
    if all(len(line) in (15, 16) and not _is_number(line[0]) and all(map(_is_number, line[1:])) for line in lines):
        return "kitti", "has lines of a class and 14 numbers"
    if all(len(line) >= 5 and line[0].isdigit() and all(map(_is_number, line)) for line in lines):
        return "yolo", "has lines of a class number and fractions"
    return "", ""


def _table(path: Path) -> tuple[str, str]:
    from jetlane.tasks.data.readers.csv import columns_of

    try:
        columns_of(path)
    except (DatasetError, Unreadable):
        return "", ""
    return "csv", "is a table with columns for an image, a class and four edges"


def _is_number(word: str) -> bool:
    try:
        number(word, "it")
    except BadBox:
        return False
    return True


__all__ = ["Detected", "advice", "advised", "detect_format", "refuse_other_format", "refuse_other_records", "sniff"]
