"""YOLO: a text file for each image, lines of a class number, centre and size in 0..1; data.yaml names the classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Optional

from jetlane.specs.errors import DatasetError, SpecError
from jetlane.tasks.data.dataset_model import Box, Finding, LabelledImage, Place
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers.folder import Item, boxes_or_findings
from jetlane.tasks.data.readers.images import ImageIndex
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, class_name, number, split_of, text_of, walk

_NAMES_FILES = ("classes.txt", "obj.names", "labels.txt", "names.txt", "classes.names")
_SPLIT_KEYS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}


@dataclass
class _Config:
    """What data.yaml says: class names by number, the split of folders, and of images that a text file lists."""

    names: dict[int, str] = field(default_factory=dict)
    splits: list[tuple[str, str]] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)
    where: str = ""


def read(place: Place) -> Iterator[Item]:
    """Images of a YOLO folder: Ultralytics' images/ and labels/, Roboflow's train/ and valid/, or text files beside
    the images. An image without a text file is a negative, as it is to YOLO.

    Raises:
        DatasetError: No class is named, or there is neither an image nor a label.
    """
    root = place.root if place.root.is_dir() else place.root.parent
    labels_root = place.annotations if place.annotations is not None and place.annotations.is_dir() else root
    files = list(walk(root))
    images = ImageIndex(place.images or root, None if place.images else files)
    config = _config(place, root, files)
    labels = {path for path in (files if labels_root == root else walk(labels_root)) if path.suffix.lower() == ".txt"}
    labels -= {
        path
        for path in labels
        if path.name.lower() in (*_NAMES_FILES, "readme.txt", "readme.roboflow.txt", "readme.dataset.txt")
    }
    labels -= {path for path in labels if _lists_images(path, root)}
    if not images.paths:
        raise DatasetError(
            f"{images.root} holds no image", "", "name the folder of a YOLO data set: images/ and labels/"
        )
    if not labels:
        raise DatasetError(
            f"{labels_root} holds no YOLO labels", "no .txt file beside images or in labels/", "check the path"
        )
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(labels):
        by_stem.setdefault(path.stem, []).append(path)
    used: set[Path] = set()
    named: set[str] = set()
    for image in images.paths.values():
        name = images.name(image)
        label = _label_of(image, by_stem, labels_root)
        split = place.split or _split(config, root, image) or split_of(Path(name).parts[:-1])
        if label is not None:
            used.add(label)
        for item in _image(place, name, image, label, config.names, split):
            if isinstance(item, LabelledImage):
                named.update(box.label for box in item.boxes)
            yield item
    for name in config.names.values():
        if name not in named:
            yield Finding("class_without_objects", config.where, f"no label is of the class {name}")
    for path in sorted(labels - used):
        yield Finding("missing_image", str(path), f"there is no image {path.stem}.* for it")


def _image(
    place: Place, name: str, image: Path, label: Optional[Path], names: Mapping[int, str], split: Optional[str]
) -> Iterator[Item]:
    boxes: list[Box] = []
    if label is not None:
        try:
            lines = text_of(label).splitlines()
        except Unreadable as error:
            yield Finding("unreadable_labels", str(label), str(error))
            return
        records = [(f":{at}", partial(_box, line.split(), names)) for at, line in enumerate(lines, 1) if line.strip()]
        boxes, findings = boxes_or_findings(records, str(label))
        yield from findings
        outlines = sum(len(line.split()) > 6 for line in lines)
        if outlines:
            yield Finding("outline", str(label), f"{outlines} outlines")
    yield LabelledImage(
        name, ImageFile(image), tuple(boxes), str(label or image), place.shown, fractions=True, split=split
    )


def _box(words: list[str], names: Mapping[int, str]) -> Box:
    if len(words) < 5:
        raise BadBox(f"a line of YOLO has a class number and 4 fractions, this one has {len(words)} fields")
    wanted = number(words[0], "the class number")
    if wanted != int(wanted) or int(wanted) not in names:
        raise BadBox(f"there is no class {words[0]}: the data set names {len(names)}, from 0 to {max(names)}")
    label = class_name(names[int(wanted)])
    numbers = [number(word, f"field {count}") for count, word in enumerate(words[1:], 2)]
    if len(numbers) in (4, 5):  # the fifth is a score
        x, y, width, height = numbers[:4]
        if max(map(abs, numbers[:4])) > 2.5:
            raise BadBox(f"{label} has {max(numbers[:4], key=abs):g}; YOLO's numbers are fractions of the image's size")
        return Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, label)
    if len(numbers) % 2:
        raise BadBox(f"{label} has {len(numbers)} numbers: neither a box nor an outline")
    return Box(min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]), label)


def _label_of(image: Path, by_stem: Mapping[str, list[Path]], labels_root: Path) -> Optional[Path]:
    """The label file of an image: beside it, in labels/ for its images/, or the only one of its name."""
    candidates = by_stem.get(image.stem, [])
    parts = [("labels" if part.lower() == "images" else part) for part in image.parent.parts]
    for folder in (image.parent, Path(*parts)):
        for path in candidates:
            if path.parent == folder:
                return path
    return candidates[0] if len(candidates) == 1 else None


def _config(place: Place, root: Path, files: list[Path]) -> _Config:
    """Class names from data.yaml, or a list of names; data.yaml's splits."""
    given = place.annotations if place.annotations is not None and place.annotations.is_file() else None
    given = given or (place.root if place.root.is_file() else None)
    yamls = (
        [given]
        if given
        else [
            path
            for path in files
            if path.suffix.lower() in (".yaml", ".yml") and len(path.relative_to(root).parts) <= 2
        ]
    )
    for path in yamls:
        config = _from_yaml(path)
        if config is not None:
            return config
    for path in sorted(files):
        if path.name.lower() in _NAMES_FILES:
            try:
                lines = [line.strip() for line in text_of(path).splitlines()]
            except Unreadable:
                continue
            return _Config({count: line for count, line in enumerate(lines) if line}, where=str(path))
    raise DatasetError(
        f"{root} names no classes",
        "YOLO's labels hold class numbers; data.yaml (names: [...]) or classes.txt says what they mean",
        "add data.yaml with `names: [first, second]`",
    )


def _from_yaml(path: Path) -> Optional[_Config]:
    from jetlane.specs.support.yaml_marks import read as read_yaml

    try:
        data: Any = read_yaml(path).data
    except SpecError as error:
        raise DatasetError(f"{path} cannot be read", error.what, "write it as Ultralytics has it") from error
    if not isinstance(data, Mapping) or "names" not in data:
        return None
    names = data["names"]
    listed = names.items() if isinstance(names, Mapping) else enumerate(names if isinstance(names, list) else ())
    named = {int(key): str(name) for key, name in listed if str(key).isdigit() and name is not None}
    if not named:
        raise DatasetError(f"{path}: names is neither a list nor {{number: name}}", "", "write names: [first, second]")
    base = data.get("path")
    start = os.path.normpath(path.parent / base) if isinstance(base, str) else str(path.parent)
    splits: list[tuple[str, str]] = []
    by_list: dict[str, str] = {}
    for key, split in _SPLIT_KEYS.items():
        values = data.get(key)
        for text in values if isinstance(values, list) else [values]:
            if isinstance(text, str) and text.endswith(".txt"):
                for place in (Path(start, text), Path(path.parent, Path(text).name)):
                    by_list.update(dict.fromkeys(_listed(place), split))
            elif isinstance(text, str) and text:
                splits.append((text, split))
                splits.append((os.path.normpath(os.path.join(start, text)), split))
    return _Config(named, splits, by_list, str(path))


def _listed(path: Path) -> list[str]:
    """The names of the images that a text file lists; none where it is not there."""
    try:
        lines = text_of(path).splitlines() if path.is_file() else []
    except Unreadable:
        return []
    return [line.strip().replace("\\", "/").rsplit("/", 1)[-1] for line in lines if line.strip()]


def _split(config: _Config, root: Path, image: Path) -> Optional[str]:
    """By data.yaml, whose paths are often those of another machine: the longest end of one that fits."""
    if image.name in config.listed:
        return config.listed[image.name]
    inside = os.path.relpath(image.parent, root)
    for text, split in config.splits:
        place = text.replace("\\", "/").rstrip("/")
        if str(image).startswith(place + "/"):
            return split
        ends = [part for part in place.split("/") if part not in ("", ".", "..")]
        if ends and ends != ["images"] and inside.split("/")[: len(ends)] == ends:
            return split
    return None


def _lists_images(path: Path, root: Path) -> bool:
    """Whether a text file in the root lists images (train.txt), and is no label file."""
    if path.parent != root or (split_of([path.name]) is None and path.name != "autosplit_train.txt"):
        return False
    try:
        first = next(iter(text_of(path).splitlines()), "")
    except Unreadable:
        return True
    return "/" in first or "." in first.split(" ")[0]
