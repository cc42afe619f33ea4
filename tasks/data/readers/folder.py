"""What readers of one label file for each image have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Callable, Optional, TypeVar, Union

from jetlane.specs.errors import DatasetError
from jetlane.specs.support.text import harmless
from jetlane.tasks.data.dataset_model import Box, Finding, ImageOrigin, LabelledImage, Place, Size
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers.images import Found, ImageIndex
from jetlane.tasks.data.readers.parsing import BadBox, Unreadable, relative, split_of, walk

Item = Union[LabelledImage, Finding]
#: The content of a label file.
T = TypeVar("T")


def annotation_files(place: Place, suffix: str, title: str) -> list[Path]:
    """The file that a source names, or all with a suffix in its folder.

    Args:
        suffix: Lower case.

    Raises:
        DatasetError: There is none.
    """
    given = place.annotations or place.root
    files = [path for path in walk(given) if path.suffix.lower() == suffix] if given.is_dir() else [given]
    if not files:
        raise DatasetError(f"{given} holds no {title} file", f"no {suffix} file", "check the path")
    return files


def claim(
    images: ImageIndex, written: str, file: Path, where: str, used: dict[Path, str]
) -> tuple[Optional[Path], list[Finding]]:
    """The image that annotations name, if it is there and nothing else named it, and what is wrong with that.

    Args:
        written: As the annotations have it.
        file: Theirs.
        where: The place in it, for people.
        used: Images and where they were named; the image is entered.
    """
    there = images.find(written, file.parent)
    if there.path is not None and there.path.stem == written:  # a name without suffix says which image it is
        there = Found(there.path)
    return claim_found(there, written, where, used)


def claim_found(there: Found, written: str, where: str, used: dict[Path, str]) -> tuple[Optional[Path], list[Finding]]:
    """The same of an image that was looked for."""
    findings = [Finding(there.problem, where, there.message)] if there.problem else []
    if there.path in used:
        findings.append(Finding("duplicate_image", where, f"{harmless(written, 200)} is also in {used[there.path]}"))
        return None, findings
    if there.path is not None:
        used[there.path] = where
    return there.path, findings


def images_of(place: Place) -> ImageIndex:
    """The images of a source whose annotations name them."""
    return ImageIndex(place.images or (place.root if place.root.is_dir() else place.root.parent))


class Folder:
    """The label files and the images of a source.

    Args:
        suffixes: Of label files, lower case.

    Raises:
        DatasetError: It is no folder, or holds no label file.
    """

    def __init__(self, place: Place, suffixes: tuple[str, ...], title: str) -> None:
        self.place = place
        labels = place.annotations or place.root
        files = list(walk(labels)) if labels.is_dir() else [labels]
        self.labels = [path for path in files if path.suffix.lower() in suffixes]
        images = place.images or (place.root if place.root.is_dir() else place.root.parent)
        self.root = images
        self.images = ImageIndex(images, files if images == labels else None)
        self.used: dict[Path, str] = {}
        if not self.labels:
            raise DatasetError(
                f"{labels} holds no {title} labels", f"no file ends with {' or '.join(suffixes)}", "check the path"
            )

    def items(
        self, load: Callable[[Path], T], read: Callable[[Path, T], Iterator[Item]], skipped: Iterable[Path] = ()
    ) -> Iterator[Item]:
        """What every label file says, then the images that none is for.

        Args:
            load: The content of a label file; Unreadable where there is none that can be used: that is a finding, and
                its image does not count as one without labels.
            read: The items of a file's content.
            skipped: Images that need no label file.
        """
        broken = list(skipped)
        for path in self.labels:
            try:
                content = load(path)
            except Unreadable as error:
                yield Finding("unreadable_labels", str(path), str(error))
                image = self.images.by_stem(path.stem, path.parent)
                broken += [image] if image is not None else []
                continue
            yield from read(path, content)
        yield from self.unlabelled(broken)

    def image(
        self,
        path: Path,
        labels: str,
        boxes: Iterable[Box],
        size: Optional[Size] = None,
        fractions: bool = False,
        split: Optional[str] = None,
        origin: Optional[ImageOrigin] = None,
    ) -> Iterator[Item]:
        """An image with its labels; a finding where another label file has it already."""
        if path in self.used:
            yield Finding("duplicate_image", labels, f"{self.images.name(path)} has labels in {self.used[path]}, too")
            return
        self.used[path] = labels
        name = self.images.name(path)
        yield LabelledImage(
            name=name,
            origin=origin or ImageFile(path),
            boxes=tuple(boxes),
            labels=labels,
            source=self.place.shown,
            size=size,
            fractions=fractions,
            split=self.place.split or split or split_of(Path(name).parts[:-1]),
        )

    def unlabelled(self, skipped: Iterable[Path]) -> Iterator[Item]:
        """The images that no label file is for; what becomes of them is a matter of policy."""
        left = set(skipped)
        for path in self.images.paths.values():
            if path not in self.used and path not in left:
                name = self.images.name(path)
                yield Finding("unlabelled_image", str(path), "there is no label file for it")
                yield LabelledImage(
                    name, ImageFile(path), (), str(path), self.place.shown, split=self.place.split, unlabelled=True
                )


def boxes_or_findings(
    records: Iterable[tuple[str, Callable[[], Optional[Box]]]], labels: str
) -> tuple[list[Box], list[Finding]]:
    """The boxes of records that can be read, and a finding for each that cannot.

    Args:
        records: Where each stands in its file, and what reads it; None where it is meant to be no object.
    """
    boxes, findings = [], []
    for at, make in records:
        try:
            box = make()
        except BadBox as error:
            findings.append(Finding("bad_box", labels + at, str(error)))
            continue
        if box is not None:
            boxes.append(box._replace(at=at))
    return boxes, findings


def size_of(width: Optional[int], height: Optional[int]) -> Optional[Size]:
    """A size, where both sides are known."""
    return (width, height) if width and height else None


__all__ = ["Folder", "Item", "boxes_or_findings", "relative", "size_of"]
