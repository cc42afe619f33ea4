"""KITTI: a text file for each image; a line is a class, truncation, occlusion, alpha, and the four edges in pixels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Optional

from jetlane.tasks.data.dataset_model import Box, Finding, Place
from jetlane.tasks.data.readers.folder import Folder, Item, boxes_or_findings
from jetlane.tasks.data.readers.parsing import BadBox, class_name, number, text_of

#: A class, truncation, occlusion, alpha, 4 edges, 3 sides, 3 coordinates, an angle; and a score where it is a result.
_FIELDS = (15, 16)
#: Regions in which objects were not labelled.
DONT_CARE = "DontCare"


def read(place: Place) -> Iterator[Item]:
    """Images of a KITTI folder: label_2/ and image_2/, or any folder of .txt files and one of images.

    Raises:
        DatasetError: There is no text file.
    """
    folder = Folder(place, (".txt",), "KITTI")
    yield from folder.items(lambda path: text_of(path).splitlines(), partial(_image, folder))


def _image(folder: Folder, path: Path, lines: list[str]) -> Iterator[Item]:
    image = folder.images.by_stem(path.stem, path.parent)
    if image is None:
        found = folder.images.find(path.stem)
        yield Finding("missing_image", str(path), found.message or f"several images are called {path.stem}")
        return
    records = [(f":{count}", partial(_box, line.split())) for count, line in enumerate(lines, 1) if line.strip()]
    boxes, findings = boxes_or_findings(records, str(path))
    yield from findings
    yield from folder.image(image, str(path), boxes)


def _box(words: list[str]) -> Optional[Box]:
    if len(words) not in _FIELDS:
        raise BadBox(f"a line of KITTI has 15 fields, this one has {len(words)}")
    label = class_name(words[0])
    left, top, right, bottom = (number(word, f"field {count} of {label}") for count, word in enumerate(words[4:8], 5))
    truncation, occlusion = (
        number(word, f"field {count} of {label}") for count, word in ((2, words[1]), (3, words[2]))
    )
    return Box(left, top, right, bottom, label, occluded=occlusion in (1, 2), truncated=0 < truncation <= 2)
