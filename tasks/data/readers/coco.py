"""COCO: a JSON file with images, annotations and categories. Crowds are kept, to be left out of the loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers import json_stream
from jetlane.tasks.data.readers.folder import Item, boxes_or_findings, claim_found, size_of
from jetlane.tasks.data.readers.images import Found, ImageIndex
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, class_name, flag, number, split_of, walk, whole

#: Lists of a file that are needed, and the keys of their items that are kept.
_LISTS = {
    "images": ("id", "file_name", "width", "height"),
    "annotations": ("id", "image_id", "category_id", "bbox", "iscrowd", "attributes"),
    "categories": ("id", "name"),
}


#: In a file's info: its annotations are a detector's, see ``prelabels``.
PRELABELS = "prelabels"


@dataclass
class _File:
    """What a COCO file holds, as far as it counts."""

    images: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    annotations: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)


def read(place: Place) -> Iterator[Item]:
    """Images of a COCO file, or of all COCO files in a folder; ``instances_*.json`` alone where there are such.

    Raises:
        DatasetError: There is no COCO file, or the only one cannot be read.
    """
    files = _files(place)
    root = place.images or (place.root if place.root.is_dir() else _images_folder(files[0]))
    images = ImageIndex(root)
    used: dict[Path, str] = {}
    for path in files:
        try:
            data = _load(path)
        except Unreadable as error:
            if len(files) == 1:
                raise DatasetError(f"{path} cannot be read as COCO", str(error), "export it again") from error
            yield Finding("unreadable_labels", str(path), str(error))
            continue
        yield from data.findings
        yield from _images(place, path, data, images, used)


def _images(place: Place, path: Path, data: _File, images: ImageIndex, used: dict[Path, str]) -> Iterator[Item]:
    named = {_identity(item.get("category_id")) for items in data.annotations.values() for item in items}
    for identity, name in data.categories.items():
        if identity not in named:
            yield Finding("class_without_objects", str(path), f"no annotation is of the category {name}")
    split = place.split or split_of([path.stem, path.parent.name])
    folders = _folders(path, images.root)
    for identity, image in data.images.items():
        where = f"{path} (image {identity})"
        written = image.get("file_name")
        annotations = data.annotations.pop(identity, [])
        there = Found(None, "missing_image", "the image has no file_name")
        if isinstance(written, str):
            folder = next((folder for folder in folders if (folder / written).is_file()), path.parent)
            there = images.find(written, folder)
        file, wrong = claim_found(there, str(written), where, used)
        yield from wrong
        if file is None:
            continue
        records = [
            (f" (annotation {_identity(item.get('id'))})", partial(_box, item, data.categories)) for item in annotations
        ]
        boxes, findings = boxes_or_findings(records, str(path))
        yield from findings
        name = images.name(file)
        size = size_of(whole(image.get("width")), whole(image.get("height")))
        inside = split or split_of(Path(name).parts[:-1])
        yield LabelledImage(name, ImageFile(file), tuple(boxes), str(path), place.shown, size, split=inside)
    for identity, left in data.annotations.items():
        for item in left:
            where = f"{path} (annotation {_identity(item.get('id'))})"
            yield Finding("bad_box", where, f"there is no image with the id {identity}")


def _box(item: Mapping[str, Any], categories: Mapping[str, str]) -> Box:
    category = _identity(item.get("category_id"))
    if category not in categories:
        raise BadBox(f"there is no category with the id {category}")
    label, edges = categories[category], item.get("bbox")
    if not isinstance(edges, Sequence) or isinstance(edges, str) or len(edges) != 4:
        count = f"{len(edges)} numbers" if isinstance(edges, list) else "nothing that can be used"
        raise BadBox(f"bbox of {label} holds {count}; COCO's has x, y, width, height")
    names = ("x", "y", "width", "height")
    x, y, width, height = (number(value, f"{name} in bbox of {label}") for name, value in zip(names, edges))
    more = item.get("attributes")
    attributes: Mapping[str, Any] = more if isinstance(more, Mapping) else {}
    difficult, occluded, truncated = (flag(attributes.get(name)) for name in ("difficult", "occluded", "truncated"))
    return Box(x, y, x + width, y + height, label, difficult, occluded, truncated, flag(item.get("iscrowd")))


def _load(path: Path) -> _File:
    data = _File()
    for key, item in json_stream.items(path):
        data.keys.add(key)
        if key == "info" and isinstance(item, Mapping) and item.get(PRELABELS):
            raise Unreadable(
                "it holds what a detector found, and nobody has said that it is right: correct it in a labelling tool "
                f"and export it from there; where it was corrected in place, remove {PRELABELS} from its info"
            )
        if key not in _LISTS:
            continue
        if not isinstance(item, Mapping):
            raise Unreadable(f"an entry of {key} is {harmless(repr(item), 60)}, not an object")
        _keep(data, path, key, {name: item[name] for name in _LISTS[key] if name in item})
    missing = [key for key in ("images", "annotations", "categories") if key not in data.keys]
    if missing and not ({"images", "categories"} <= data.keys):  # a file of negatives may lack annotations
        raise Unreadable(f"it lacks {', '.join(missing)}; COCO's instances have images, annotations and categories")
    return data


def _keep(data: _File, path: Path, key: str, item: Mapping[str, Any]) -> None:
    identity = _identity(item.get("id"))
    if key == "categories":
        try:
            data.categories[identity] = class_name(item.get("name"))
        except BadBox as error:
            raise Unreadable(f"category {identity}: {error}") from error
    elif key == "images":
        if identity in data.images:
            where = f"{path} (image {identity})"
            data.findings.append(Finding("duplicate_image", where, f"the image id {identity} is there twice"))
        else:
            data.images[identity] = item
    else:
        data.annotations.setdefault(_identity(item.get("image_id")), []).append(item)


def _identity(value: Any) -> str:
    """An id as text: 7, 7.0 and "7" are one."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return harmless(str(value), 100)


def _files(place: Place) -> list[Path]:
    given = place.annotations or place.root
    if not given.is_dir():
        return [given]
    found = [path for path in walk(given) if path.suffix.lower() == ".json"]
    found = [path for path in found if path.name.startswith("instances_")] or found
    found = [path for path in found if _looks_like_coco(path)]
    if not found:
        raise DatasetError(
            f"{given} holds no COCO file", "no .json file with images, annotations, categories", "name it"
        )
    return found


def _looks_like_coco(path: Path) -> bool:
    keys = set()
    try:
        for count, (key, item) in enumerate(json_stream.items(path)):
            keys.add(key)
            if key == "" or count > 100_000:
                break
            if key == "annotations" and isinstance(item, Mapping) and ("caption" in item or "segments_info" in item):
                return False
            if {"images", "annotations"} <= keys:
                return True
    except Unreadable:
        return "annotations" in keys or "images" in keys
    return {"images", "categories"} <= keys


def _images_folder(path: Path) -> Path:
    """Where the images of a lone file are: beside it, or beside its annotations/ folder."""
    return path.parent.parent if path.parent.name.lower() in ("annotations", "labels") else path.parent


def _folders(path: Path, root: Path) -> list[Path]:
    """Folders that a file_name may start from: beside the file, or that of its split."""
    word: Optional[str] = path.stem.split("_")[-1]
    return [
        path.parent,
        root,
        *(root / folder for folder in (f"{word}", f"images/{word}", "images", "data", "JPEGImages")),
    ]
