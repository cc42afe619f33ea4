"""CVAT: one XML file with ``<annotations>``; of images, or of a video with its tracks."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place, Size
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers.folder import Item, annotation_files, boxes_or_findings, claim, images_of, size_of
from jetlane.tasks.data.readers.images import ImageIndex
from jetlane.tasks.data.readers.parsing import (
    LARGE,
    BadBox,
    Unreadable,
    class_name,
    flag,
    number,
    split_of,
    whole,
)
from jetlane.tasks.data.readers.xml import Element, root_and_children

_EDGES = ("xtl", "ytl", "xbr", "ybr")
_OUTLINES = ("polygon",)
_OTHERS = ("polyline", "points", "cuboid", "skeleton", "mask", "tag", "ellipse")

Record = tuple[str, Callable[[], Optional[Box]]]


def read(place: Place) -> Iterator[Item]:
    """Images of a CVAT file, or of all of them in a folder.

    Raises:
        DatasetError: There is none, or the only one cannot be read.
    """
    files, images = annotation_files(place, ".xml", "CVAT"), images_of(place)
    used: dict[Path, str] = {}
    for path in files:
        try:
            yield from _file(place, path, images, used)
        except Unreadable as error:
            if len(files) == 1:
                raise DatasetError(f"{path} cannot be read as CVAT", str(error), "export it again") from error
            yield Finding("unreadable_labels", str(path), str(error))


def _file(place: Place, path: Path, images: ImageIndex, used: dict[Path, str]) -> Iterator[Item]:
    elements = root_and_children(path, LARGE)
    root = next(elements, None)
    if root is None or root.tag != "annotations":
        raise Unreadable("it is empty" if root is None else f"it begins with <{root.tag}>, not <annotations>")
    frames: dict[int, list[Record]] = {}
    size: Optional[Size] = None
    for element in elements:
        if element.tag == "meta":
            size = _video_size(element)
        elif element.tag == "image":
            yield from _image(place, path, element, images, used)
        elif element.tag == "track":
            for frame, record in _track(element):
                frames.setdefault(frame, []).append(record)
    for frame, records in sorted(frames.items()):
        yield from _found(
            place, path, f"frame_{frame:06d}", f"{path} (frame {frame})", records, size, None, images, used
        )


def _image(place: Place, path: Path, element: Element, images: ImageIndex, used: dict[Path, str]) -> Iterator[Item]:
    records: list[Record] = []
    where = f"{path}:{element.line}"
    label = element.attributes.get("label")
    for shape in element.children:
        if shape.tag == "box":
            records.append((f":{shape.line}", partial(_box, shape, label)))
        elif shape.tag in _OUTLINES:
            records.append((f":{shape.line}", partial(_outline, shape)))
            yield Finding("outline", f"{path}:{shape.line}", shape.tag)
        elif shape.tag in _OTHERS:
            yield Finding("not_a_box", f"{path}:{shape.line}", shape.tag)
    sides = (whole(element.attributes.get(side)) for side in ("width", "height"))
    split = split_of([element.attributes.get("subset", "")])
    name = element.attributes.get("name", "")
    yield from _found(place, path, name, where, records, size_of(*sides), split, images, used)


def _found(
    place: Place,
    path: Path,
    written: str,
    where: str,
    records: list[Record],
    size: Optional[Size],
    split: Optional[str],
    images: ImageIndex,
    used: dict[Path, str],
) -> Iterator[Item]:
    file, wrong = claim(images, written, path, where, used)
    yield from wrong
    if file is None:
        return
    boxes, findings = boxes_or_findings(records, str(path))
    yield from findings
    name = images.name(file)
    split = place.split or split or split_of(Path(name).parts[:-1])
    yield LabelledImage(name, ImageFile(file), tuple(boxes), str(path), place.shown, size, split=split)


def _track(track: Element) -> Iterator[tuple[int, Record]]:
    for shape in track.children:
        frame = whole(shape.attributes.get("frame")) or 0
        if shape.tag == "box" and not flag(shape.attributes.get("outside")):
            yield frame, (f":{shape.line}", partial(_box, shape, track.attributes.get("label")))


def _box(shape: Element, default: Optional[str] = None) -> Box:
    label = class_name(shape.attributes.get("label", default))
    left, top, right, bottom = (number(shape.attributes.get(edge), f"{edge} of {label}") for edge in _EDGES)
    angle = number(shape.attributes.get("rotation", "0"), f"rotation of {label}")
    if angle % 180:
        left, top, right, bottom = upright(left, top, right, bottom, angle)
    return _with_attributes(Box(left, top, right, bottom, label), shape)


def _outline(shape: Element) -> Box:
    label = class_name(shape.attributes.get("label"))
    text = shape.attributes.get("points", "")
    points = [pair.split(",") for pair in text.split(";") if pair.strip()]
    if len(points) < 3 or any(len(point) != 2 for point in points):
        raise BadBox(f"points of {label} are no list of x,y")
    x, y = ([number(point[axis], f"a coordinate of {label}") for point in points] for axis in (0, 1))
    return _with_attributes(Box(min(x), min(y), max(x), max(y), label), shape)


def _with_attributes(box: Box, shape: Element) -> Box:
    told = {item.attributes.get("name", "").lower(): flag(item.text) for item in shape.all("attribute")}
    return box._replace(
        occluded=flag(shape.attributes.get("occluded")) or told.get("occluded", False),
        difficult=told.get("difficult", False),
        truncated=told.get("truncated", False),
    )


def upright(left: float, top: float, right: float, bottom: float, angle: float) -> tuple[float, float, float, float]:
    """The upright box around one that is rotated about its centre by so many degrees."""
    turn = math.radians(angle)
    width, height = abs(right - left), abs(bottom - top)
    across = (width * abs(math.cos(turn)) + height * abs(math.sin(turn))) / 2
    down = (width * abs(math.sin(turn)) + height * abs(math.cos(turn))) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - across, y - down, x + across, y + down


def _video_size(meta: Element) -> Optional[Size]:
    for task in meta.children:
        original = task.first("original_size")
        if original is not None:
            return size_of(whole(original.value("width")), whole(original.value("height")))
    original = meta.first("original_size")
    return size_of(whole(original.value("width")), whole(original.value("height"))) if original is not None else None
