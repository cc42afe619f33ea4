"""Names and numbers of a data set that is written: what all formats have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jetlane.specs.errors import DatasetError
from jetlane.tasks.data.boxes import Object
from jetlane.tasks.data.ingest import PlannedImage
from jetlane.tasks.data.labels import LabelMap
from jetlane.tasks.data.uniform import changes, uniform
from jetlane.tasks.run.counted import Counted

_SUFFIXES = {"jpeg": (".jpg", ".jpeg"), "png": (".png",)}


@dataclass(frozen=True)
class Written:
    """An image of a data set that is written.

    Attributes:
        name: Its file's name; no other image has it, with or without suffix.
    """

    name: str
    planned: PlannedImage

    @property
    def stem(self) -> str:
        """Its name without suffix."""
        return PurePosixPath(self.name).stem

    @property
    def boxes(self) -> list[tuple[Object, tuple[float, float, float, float]]]:
        """Its objects with their edges in pixels: xmin, ymin, xmax, ymax."""
        width, height = self.planned.size
        return [
            (each, (each.box[0] * width, each.box[1] * height, each.box[2] * width, each.box[3] * height))
            for each in self.planned.objects
        ]


@dataclass(frozen=True)
class DataSet:
    """What is to be written.

    Attributes:
        splits: The images of each split; one alone where the source has none.
        count: Of those that are written.
    """

    splits: dict[str, list[Written]]
    labels: LabelMap
    count: Counted

    @property
    def is_divided(self) -> bool:
        """Whether there is more than one split."""
        return len(self.splits) > 1


def named(images: Sequence[PlannedImage], labels: LabelMap) -> DataSet:
    """File names for images: their own, or with their folders where two would have the same."""
    stems = Counter(PurePosixPath(each.image.name).stem.lower() for each in images)
    splits: dict[str, list[Written]] = {}
    taken: set[str] = set()
    for each in images:
        path = PurePosixPath(each.image.name)
        suffixes = _SUFFIXES[each.facts.format]
        suffix = path.suffix if path.suffix.lower() in suffixes else suffixes[0]
        stem = path.stem if stems[path.stem.lower()] == 1 else "__".join((*path.parts[:-1], path.stem))
        if stem.lower() in taken:
            stem = f"{stem}-{each.facts.sha256[:8]}"
        taken.add(stem.lower())
        splits.setdefault(each.split, []).append(Written(stem + suffix, each))
    return DataSet(splits, labels, Counted("image", len(images)))


def write_image(written: Written, folder: Path) -> None:
    """Write an image's file; its bytes where they need no change.

    Raises:
        DatasetError: It cannot be read any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    planned = written.planned
    try:
        encoded = planned.image.origin.read()
        if changes(planned.facts, None):
            encoded = uniform(encoded, planned.facts, None)
    except ValueError as error:
        raise DatasetError(f"{planned.image.origin.file} cannot be read", str(error), "run again") from error
    (folder / written.name).write_bytes(encoded)


def shown(value: float) -> str:
    """A coordinate in hundredths of a pixel, without zeros at its end."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
