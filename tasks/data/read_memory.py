"""What was read, looked at and checked, kept between runs: of a set in which only images changed, these alone are read.

``<state>/read.db``. It holds for one way of reading, the very label files, and the names of all image files; where any
of these is another, everything is read anew. An image's own row holds as long as its file has the same stamp.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from jetlane.tasks.data.boxes import Object
from jetlane.tasks.data.cache_database import connect
from jetlane.tasks.data.dataset_model import Box, Finding, ImageOrigin, LabelledImage, Place
from jetlane.tasks.data.judge import Judged
from jetlane.tasks.data.looks import look_from, plain_look
from jetlane.tasks.data.origins import EmbeddedImage, ImageFile, RecordImage
from jetlane.tasks.data.readers.images import SUFFIXES
from jetlane.tasks.data.readers.parsing import walk_names
from jetlane.tasks.data.source import LabelledSource
from jetlane.tasks.run.digests import digest_of, is_settled, stamp_of
from jetlane.tasks.run.workspace import code_digest

_FILE = "read.db"
_CODE = ("jetlane.tasks.data",)
_ORIGINS = {"file": ImageFile, "record": RecordImage, "embedded": EmbeddedImage}
_TABLES = """
DROP TABLE IF EXISTS head; DROP TABLE IF EXISTS images;
CREATE TABLE head (signature TEXT, head TEXT);
CREATE TABLE images (place INTEGER PRIMARY KEY, stamp TEXT, judged TEXT, boxes TEXT);
"""


@dataclass(frozen=True)
class Head:
    """What reading the labels found beside the images.

    Attributes:
        findings, dropped, images_read, boxes_read: As of ``Plan``, before any image is looked at.
    """

    findings: Sequence[Finding]
    dropped: Counter[str]
    images_read: int
    boxes_read: int


@dataclass(frozen=True)
class ReadBefore:
    """What was read before.

    Attributes:
        judged: In order; None where the image's file changed since.
        changed: The images whose files changed, with their boxes, by place.
    """

    head: Head
    judged: list[Optional[Judged]]
    changed: dict[int, LabelledImage]


class ReadMemory:
    """The memory of a data set; without a folder nothing is kept. A database that is damaged is begun anew; one that
    cannot be written, for want of room or because another process does, is left as it is."""

    def __init__(self, state: Optional[Path], source: LabelledSource) -> None:
        self._began = time.time_ns()
        self._path = state / _FILE if state is not None else None
        self._signature = _signature(source, self._began) if state is not None else None

    def load(self) -> Optional[ReadBefore]:
        """What holds of it; None where everything has to be read."""
        if self._path is None or self._signature is None or not self._path.is_file():
            return None
        try:
            with closing(connect(self._path)) as database:
                heads = database.execute("SELECT head FROM head WHERE signature = ?", [self._signature]).fetchall()
                return _read(database, heads[0][0]) if heads else None
        except (sqlite3.Error, ValueError, TypeError, KeyError, IndexError, AttributeError):
            self._path.unlink(missing_ok=True)
            return None

    def save(self, head: Head, images: Sequence[Judged], boxes: Sequence[Sequence[Box]]) -> None:
        """Replace what is kept.

        Args:
            images: In order, without boxes where nothing was found.
            boxes: Those of each image.
        """
        if self._path is None or self._signature is None:
            return
        with suppress(sqlite3.Error), closing(connect(self._path)) as database, database:
            database.executescript(_TABLES)
            text = json.dumps(
                [[astuple(each) for each in head.findings], head.dropped, head.images_read, head.boxes_read]
            )
            database.execute("INSERT INTO head VALUES (?, ?)", [self._signature, text])
            rows = ((place, *self._row(each, boxes[place])) for place, each in enumerate(images))
            database.executemany("INSERT INTO images VALUES (?, ?, ?, ?)", rows)

    def update(self, images: dict[int, Judged], boxes: dict[int, Sequence[Box]]) -> None:
        """Replace the rows of images that changed, by place."""
        if self._path is None or self._signature is None or not images:
            return
        with suppress(sqlite3.Error), closing(connect(self._path)) as database, database:
            rows = [(*self._row(each, boxes[place]), place) for place, each in images.items()]
            database.executemany("UPDATE images SET stamp = ?, judged = ?, boxes = ? WHERE place = ?", rows)

    def _row(self, each: Judged, boxes: Sequence[Box]) -> tuple[Optional[str], str, str]:
        # the stamp is taken after the look: what was written since the run began is not settled, and counts as changed
        stamp = stamp_of(each.image.origin.file)
        settled = stamp is not None and is_settled(stamp, self._began)
        return (
            str(stamp) if settled else None,
            json.dumps(_plain(each)),
            json.dumps(boxes),
        )


def _read(database: sqlite3.Connection, head: str) -> ReadBefore:
    found, dropped, images_read, boxes_read = json.loads(head)
    findings = [Finding(*each) for each in found]
    judged: list[Optional[Judged]] = []
    places: list[int] = []
    for place, stamp, text in database.execute("SELECT place, stamp, judged FROM images ORDER BY place"):
        each = _judged(json.loads(text))
        now = stamp_of(each.image.origin.file) if stamp is not None else None
        if now is None or str(now) != stamp:
            places.append(place)
        judged.append(each)
    changed_places = set(places)
    boxed = places + [place for place, each in enumerate(judged) if each is not None and each.findings]
    changed: dict[int, LabelledImage] = {}
    for place in dict.fromkeys(boxed):
        ((text,),) = database.execute("SELECT boxes FROM images WHERE place = ?", [place]).fetchall()
        known = judged[place]
        assert known is not None
        image = replace(known.image, boxes=tuple(Box(*box) for box in json.loads(text)))
        if place in changed_places:
            changed[place] = image
            judged[place] = None
        else:
            judged[place] = replace(known, image=image)
    return ReadBefore(Head(findings, Counter(dropped), images_read, boxes_read), judged, changed)


def _plain(each: Judged) -> list[Any]:
    image = each.image
    return [
        _plain_origin(image.origin),
        [image.name, image.labels, image.source, image.size, image.fractions, image.split, image.unlabelled],
        plain_look(each.look),
        [[item.box, item.label, item.difficult, item.truncated, item.ignored] for item in each.objects],
        [astuple(finding) for finding in each.findings],
        each.kept,
        each.dropped_boxes,
        each.objects_digest,
    ]


def _plain_origin(origin: ImageOrigin) -> list[Any]:
    name = next(name for name, kind in _ORIGINS.items() if isinstance(origin, kind))
    more = [origin.start, origin.length] if isinstance(origin, RecordImage) else []
    return [name, str(origin.file), *more]


def _judged(row: list[Any]) -> Judged:
    (kind, file, *more), (name, labels, source, size, *rest), look, objects, findings, *verdict = row
    origin: Any = _ORIGINS[kind](Path(file), *more)
    image = LabelledImage(name, origin, (), labels, source, tuple(size) if size is not None else None, *rest)
    return Judged(
        image,
        look_from(look),
        tuple([Object(tuple(box), *marks) for box, *marks in objects]),
        tuple([Finding(*finding) for finding in findings]),
        *verdict,
    )


def _signature(source: LabelledSource, began: int) -> Optional[str]:
    """What stands for all that reading depends on but the images' bytes; None where that cannot be told."""
    classes = source.classes
    chosen = [classes.becomes, classes.only, sorted(classes.ignored), classes.label_map]
    settings: list[Any] = [code_digest(_CODE), chosen, source.policy, source.objects, source.network, source.max_side]
    files: list[str] = []
    for name, place in source.places:
        settings.append([name, place])
        for path, stamp in _listed(name, place):
            if stamp is not None and not is_settled(stamp, began):
                return None
            if name == "yolo" and path.lower().endswith((".yaml", ".yml")) and b".txt" in Path(path).read_bytes():
                return None  # lists of images may lie anywhere
            files.append(f"{path}\0{stamp}")
    listed = hashlib.sha256("\n".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    return digest_of([*settings, listed])


def _listed(name: str, place: Place) -> Iterator[tuple[str, Any]]:
    """Every file that a reader may look for, with the stamp of those that are no images."""
    folders: dict[Path, None] = {}
    for path in filter(None, (place.root, place.annotations, place.images)):
        if path.is_dir():
            folders[path] = None
            continue
        yield str(path), stamp_of(path)
        if name != "tfrecord" and place.images is None:  # images are looked for around it
            beside = path.parent.name.lower() in ("annotations", "labels")
            folders[path.parent.parent if beside else path.parent] = None
    for folder in folders:
        if not any(other in folder.parents for other in folders):
            for file in walk_names(folder):
                yield file, None if os.path.splitext(file)[1].lower() in SUFFIXES else stamp_of(file)
