"""Pascal VOC: an XML file with ``<annotation>`` for each image, as the OD API's create_pascal_tf_record takes it.

Edges are taken as they are written, like there: VOC counts pixels from 1 and includes the last, most tools from 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from jetlane.tasks.data.dataset_model import Box, Finding, Place
from jetlane.tasks.data.readers.folder import Folder, Item, boxes_or_findings, size_of
from jetlane.tasks.data.readers.parsing import (
    SMALL,
    BadBox,
    Unreadable,
    class_name,
    flag,
    number,
    split_of,
    text_of,
    whole,
)
from jetlane.tasks.data.readers.xml import Element, whole_file

_EDGES = ("xmin", "ymin", "xmax", "ymax")


def read(place: Place) -> Iterator[Item]:
    """Images of a VOC folder: VOCdevkit's own layout, Roboflow's, or XML files beside their images.

    Raises:
        DatasetError: There is no XML file.
    """
    folder = Folder(place, (".xml",), "Pascal VOC")
    splits = _image_sets(folder.place.root)
    own = {path.stem.lower() for path in folder.labels}
    masks = [path for name, path in folder.images.paths.items() if "segmentation" in name.lower()]
    yield from folder.items(
        _root, lambda path, root: _image(folder, path, root, own, splits.get(path.stem)), skipped=masks
    )


def _root(path: Path) -> Element:
    root = whole_file(path, SMALL)
    if root.tag != "annotation":
        raise Unreadable(f"line {root.line}: it begins with <{root.tag}>, not <annotation>")
    return root


def _image(folder: Folder, path: Path, root: Element, own: set[str], split: Optional[str]) -> Iterator[Item]:
    image = folder.images.by_stem(path.stem, path.parent)
    written = root.value("filename") or ""
    found = folder.images.find(written, path.parent) if written else None
    if found is not None and found.path is not None:
        stale = image is not None and found.path != image and found.path.stem.lower() in own
        if stale:  # its labels were copied or renamed, and another label file is that image's own
            yield Finding(
                "image_found", str(path), f"<filename> says {written!r}; taken is {folder.images.name(image or path)}"
            )
        else:
            if found.problem:
                yield Finding(found.problem, str(path), found.message)
            image = found.path
    elif image is not None and written:
        yield Finding("image_found", str(path), f"<filename> says {written!r}; taken is {folder.images.name(image)}")
    if image is None:
        problem = found or folder.images.find(path.stem)
        yield Finding(problem.problem, str(path), problem.message)
        return
    size = root.first("size")
    width, height = (whole(size.value(side)) if size is not None else None for side in ("width", "height"))
    objects = root.all("object")
    records = [
        (f":{item.line} (object {count})", lambda item=item: _box(item)) for count, item in enumerate(objects, 1)
    ]
    boxes, findings = boxes_or_findings(records, str(path))
    yield from findings
    yield from folder.image(image, str(path), boxes, size_of(width, height), split=split)


def _box(item: Element) -> Box:
    label = class_name(item.value("name"))
    edges = item.first("bndbox")
    if edges is None:
        other = next((child.tag for child in item.children if child.tag in ("robndbox", "polygon", "segmentation")), "")
        raise BadBox(f"{label} has no <bndbox>" + (f", but a <{other}>" if other else ""))
    xmin, ymin, xmax, ymax = (number(edges.value(edge), f"<{edge}> of {label}") for edge in _EDGES)
    difficult, occluded, truncated = (flag(item.value(name)) for name in ("difficult", "occluded", "truncated"))
    return Box(xmin, ymin, xmax, ymax, label, difficult, occluded, truncated)


def _image_sets(root: Path) -> dict[str, str]:
    """The split of each image, by ImageSets/Main; where there is no more than ``trainval`` there is none."""
    splits: dict[str, str] = {}
    lists = sorted(root.glob("ImageSets/Main/*.txt")) + sorted(root.glob("*/ImageSets/Main/*.txt"))
    for path in lists:
        split = split_of([path.name])
        if split is None:  # of one class alone, or of both
            continue
        try:
            lines = text_of(path).splitlines()
        except Unreadable:
            continue
        for line in lines:
            words = line.split()
            if words:
                splits[words[0]] = split
    return splits
