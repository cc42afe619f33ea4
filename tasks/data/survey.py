"""What a folder of labelled images holds, seen without decoding an image: for the spec that `jetlane init` writes."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Optional

import numpy as np

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import is_harmless
from jetlane.tasks.data.dataset_model import Finding, LabelledImage, Place, Size
from jetlane.tasks.data.detect import advice, advised, detect_format
from jetlane.tasks.data.findings import KINDS
from jetlane.tasks.data.labels import LabelMap, read_label_map
from jetlane.tasks.data.readers.formats import FORMATS
from jetlane.tasks.data.readers.images import SUFFIXES
from jetlane.tasks.data.readers.parsing import walk
from jetlane.tasks.data.readers.tfrecord import ID_PREFIX
from jetlane.tasks.run.counted import Counted

#: Images whose boxes are looked at, evenly spread; files that an error counts.
_SAMPLE, _COUNTED = 1000, 50_000


@dataclass(frozen=True)
class Origin:
    """One source of labelled images: the key of its format, and its folder or file."""

    format: str
    path: Path


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        images: Those with labels.
        splits: How many a source puts on each side: ``train``, ``validation``, ``test``; the others are divided.
        objects: Boxes of each class, most frequent first.
        boxes: float [N, 4] as xmin, ymin, xmax, ymax in 0..1 of their images; of many images, a sample.
        sizes: int [N, 2], width and height in pixels of the image of each of these boxes.
        findings: How many of each kind the readers had; `jetlane data check` finds more.
        label_map: A label map in the folder that has every class.
    """

    origins: tuple[Origin, ...]
    images: int
    splits: Counter[str]
    objects: Counter[str]
    boxes: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    sizes: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    findings: Counter[str] = field(default_factory=Counter)
    label_map: Optional[Path] = None

    @property
    def unnamed(self) -> list[int]:
        """Numbers of classes that records give without a name."""
        return sorted(int(name[len(ID_PREFIX) :]) for name in self.objects if name.startswith(ID_PREFIX))


@dataclass
class _Read:
    """The images and the findings of one source."""

    origin: Origin
    images: list[LabelledImage] = field(default_factory=list)
    findings: Counter[str] = field(default_factory=Counter)
    first: Optional[Finding] = None

    @property
    def objects(self) -> int:
        return sum(len(image.boxes) for image in self.images)


def candidates(folder: Path) -> list[list[Origin]]:
    """What a folder, or a file of labels, can be taken for, the best first: each is one source, or several together.

    Formats that stand in folders of their own, each with its images, are sources of one data set. Formats that label
    the same images are alternatives, of which that with most objects comes first.

    Raises:
        DatasetError: It is not there, or holds no labels of any format; says what was looked for.
    """
    _refuse_place(folder)
    formats = [found.format for found in detect_format(folder)]
    if len(formats) > 1:
        apart = _apart(folder)
        if apart:
            return [apart]
    if not formats:
        raise _nothing(folder)
    found = []
    for name in formats if len(formats) > 1 else ():
        with suppress(DatasetError):
            found.append(_read(Origin(name, folder)))
    usable = sorted((each for each in found if each.objects), key=lambda each: -each.objects)
    # without any that can be used, `survey` says what is wrong with the likeliest
    return [[each.origin] for each in usable] or [[Origin(formats[0], folder)]]


def survey(origins: Sequence[Origin]) -> Survey:
    """Read all labels of some sources.

    Raises:
        DatasetError: One cannot be read, or has no object.
    """
    read = [_read_or_told(origin) for origin in origins]
    images = [image for each in read for image in each.images]
    findings: Counter[str] = sum((each.findings for each in read), Counter())
    objects = Counter(box.label for image in images for box in image.boxes)
    boxes, sizes = _placed(images[:: max(1, len(images) // _SAMPLE)])
    return Survey(
        origins=tuple(origins),
        images=len(images),
        splits=Counter(image.split for image in images if image.split),
        objects=Counter(dict(sorted(objects.items(), key=lambda item: (-item[1], item[0])))),
        boxes=boxes,
        sizes=sizes,
        findings=findings,
        label_map=_label_map([origin.path for origin in origins], list(objects)),
    )


def _apart(folder: Path) -> list[Origin]:
    """The formats of a folder's folders, where each can be read by itself; else nothing."""
    if not folder.is_dir():
        return []
    below = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    found: list[Origin] = []
    for path in below:
        formats = detect_format(path)
        if not formats:
            continue
        try:
            if path.is_file() or len(formats) > 1 or not _read(Origin(formats[0].format, path)).objects:
                return []
        except DatasetError:
            return []
        found.append(Origin(formats[0].format, path))
    return found


def _refuse_place(folder: Path) -> None:
    if not folder.exists():
        raise DatasetError(f"{folder} is not there", "", "check the path")
    if not is_harmless(str(folder.absolute())):
        raise DatasetError("the folder's name cannot be shown as it is", "it is no plain text", "rename the folder")


def _read_or_told(origin: Origin) -> _Read:
    """A source with objects.

    Raises:
        DatasetError: There is none; says what the source looks like instead, or what is wrong with its labels.
    """
    _refuse_place(origin.path)
    place = Place(origin.path)
    try:
        read = _read(origin)
    except DatasetError as error:
        raise advised(error, place, origin.format) from error
    if read.objects:
        return read
    if read.first is None and not read.images:
        raise _nothing(origin.path)
    title = FORMATS[origin.format].title
    counted = ", ".join(f"{KINDS[kind].title}: {count}" for kind, count in read.findings.most_common())
    first = f"; the first is {read.first.where}: {read.first.message}" if read.first is not None else ""
    why = f"{counted}{first}" if counted else f"{len(read.images)} images have labels without any object"
    remedy = advice(place, origin.format) or "name the folder that holds both images and labels"
    raise DatasetError(f"{origin.path} has labels of {title}, but no image with an object", why, remedy)


def _read(origin: Origin) -> _Read:
    """Labels alone; an image without any counts where its format needs no file for each."""
    read = _Read(origin)
    for item in Counted("label file")(FORMATS[origin.format].read(Place(origin.path, shown=str(origin.path)))):
        if isinstance(item, Finding):
            read.findings[item.kind] += 1
            read.first = read.first or item
        elif not item.unlabelled:
            read.images.append(item)
    return read


def _placed(
    images: Sequence[LabelledImage],
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Boxes as fractions, and the size of their images; what makes no sense is left to the checks."""
    boxes, sizes = [], []
    for image in images:
        size = (image.size or _size_of(image)) if image.boxes else None
        if size is None:
            continue
        scale = np.array((1, 1, 1, 1) if image.fractions else (*size, *size), float)
        placed = np.clip(np.array([box[:4] for box in image.boxes], float) / scale, 0.0, 1.0)
        placed = placed[np.all(placed[:, 2:] > placed[:, :2], axis=1)]
        boxes.append(placed)
        sizes += [size] * len(placed)
    return np.concatenate(boxes or [np.zeros((0, 4))]), np.array(sizes, int).reshape(-1, 2)


def _size_of(image: LabelledImage) -> Optional[Size]:
    """From the head of the image's file; None where that cannot be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a very large image is told by the checks
            with Image.open(io.BytesIO(image.origin.read())) as picture:
                return int(picture.width), int(picture.height)
    except Exception:  # Pillow raises many kinds for damaged data; the checks say what is wrong
        return None


def _label_map(paths: Sequence[Path], classes: Sequence[str]) -> Optional[Path]:
    """The first label map below the folders that has every class."""
    for folder in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        for path in islice(walk(folder), _COUNTED):
            if path.suffix.lower() == ".pbtxt":
                try:
                    labels = read_label_map(path)
                except DatasetError:
                    continue
                if all(_has(labels, name) for name in classes):
                    return path
    return None


def _has(labels: LabelMap, name: str) -> bool:
    if name.startswith(ID_PREFIX):
        return int(name[len(ID_PREFIX) :]) in labels.names
    return name in labels.ids


def _nothing(folder: Path) -> DatasetError:
    """What was there instead, and what a folder of each format looks like."""
    counts: Counter[str] = Counter()
    for path in islice(walk(folder) if folder.is_dir() else [folder], _COUNTED):
        suffix = path.suffix.lower()
        counts["image" if suffix in SUFFIXES else suffix or "other"] += 1
    images = counts.pop("image", 0)
    others = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    seen = f"{images} image file{'' if images == 1 else 's'}, " if images else ""
    held = f"it holds {seen}{others or 'nothing else'}" if seen or others else "it is empty"
    width = max(len(each.title) for each in FORMATS.values())
    known = "\n".join(f"{each.title:<{width}}  {'  '.join(each.example)}" for each in FORMATS.values())
    return DatasetError(
        f"{folder} holds no labelled images",
        f"{held}; files with objects were looked for in it and below, of these formats, which look like this:\n{known}",
        "name the folder that holds images and labels; docs/data.md describes each format",
    )


__all__ = ["Origin", "Survey", "candidates", "survey"]
