"""Labelled images as every reader hands them on, and what there is to say about them. No pixels are looked at here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Optional, Protocol, Union

#: (width, height) in pixels.
Size = tuple[int, int]


class Box(NamedTuple):
    """One object.

    Attributes:
        xmin, ymin, xmax, ymax: Edges, not pixel indices: a box over all of an image is 0, 0, width, height. In pixels,
            or in 0..1 where the image says ``fractions``. As they were written: they may be infinite, inverted, or
            outside, until ``boxes.checked`` has seen them.
        label: The class as it was written.
        crowd: A box around a group: COCO's metrics neither demand nor punish it, training leaves it out of the loss.
        at: Which record of its file it is, for messages: ``line 12``, ``object 3``, ``annotation 4711``.
    """

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    label: str
    difficult: bool = False
    occluded: bool = False
    truncated: bool = False
    crowd: bool = False
    at: str = ""


class ImageOrigin(Protocol):
    """Where an image's encoded bytes are; equal origins are equal values, and can be pickled."""

    @property
    def file(self) -> Path:
        """The file that holds them."""

    def read(self) -> bytes:
        """The bytes.

        Raises:
            ValueError: They cannot be read; in words.
        """


@dataclass(frozen=True)
class LabelledImage:
    """An image and its objects.

    Attributes:
        name: Relative path within its source, with ``/``; no other image of the source has it.
        origin: Where its bytes are.
        boxes: In the order in which they were written.
        labels: The file (and line or record) that holds its labels; the image's own where it has none.
        source: The source as people know it: ``voc: data``.
        size: Of the image, as its labels say; None where they do not.
        fractions: The boxes are in 0..1 of the image.
        split: ``train``, ``validation`` or ``test`` where the source tells.
        unlabelled: It has no label file where its format has one for each image; a finding says so.
    """

    name: str
    origin: ImageOrigin
    boxes: tuple[Box, ...]
    labels: str
    source: str
    size: Optional[Size] = None
    fractions: bool = False
    split: Optional[str] = None
    unlabelled: bool = False


@dataclass(frozen=True)
class Finding:
    """Something wrong with a data set, or that a person should know.

    Attributes:
        kind: One of ``findings.KINDS``, which says what it is called, and what is done by default.
        where: File, and line or record.
        message: What is wrong, in one line.
        split: Of the image that it is about, where that is known.
    """

    kind: str
    where: str
    message: str
    split: Optional[str] = None


@dataclass(frozen=True)
class Place:
    """Where a source is.

    Attributes:
        root: A folder, or a file of labels.
        images: Folder of the images, where it is given apart.
        annotations: File or folder of the labels, where it is given apart.
        split: What its images are for, where the spec says so.
        shown: The source for people: ``voc: data``.
    """

    root: Path
    images: Optional[Path] = None
    annotations: Optional[Path] = None
    split: Optional[str] = None
    shown: str = ""


class Reader(Protocol):
    """Reads one format.

    Called with a place it yields images and findings one by one, in an order that depends on names alone; it raises
    ``DatasetError`` only where nothing can be read at all (no such folder, another format).
    """

    def __call__(self, place: Place) -> Iterator[Union[LabelledImage, Finding]]: ...
