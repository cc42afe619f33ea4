"""Images without labels, and frames of videos: what a person names to see what a model finds in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from jetlane.specs.errors import DatasetError, JetlaneError
from jetlane.tasks.data.dataset_model import LabelledImage
from jetlane.tasks.data.ingest import PlannedImage
from jetlane.tasks.data.looks import Problem, look_at_all
from jetlane.tasks.data.origins import ImageFile
from jetlane.tasks.data.readers.images import SUFFIXES
from jetlane.tasks.data.readers.parsing import walk

VIDEOS = frozenset((".mp4", ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".ts"))
#: Of the JPEG files that frames become.
_QUALITY = 95


def images_of(given: Sequence[Path], frames: Path, every: int = 1) -> tuple[list[PlannedImage], list[str]]:
    """The images that are meant, looked at: files, all images and videos below folders, and frames of videos.

    Args:
        frames: A folder for the frames, which become JPEG files; they are needed as long as the images are.
        every: Of a video, each so many-th frame, from the first on.

    Returns:
        The images, which have no objects, and a line about each that cannot be used.

    Raises:
        DatasetError: A path is not there, or there is no image at all.
        JetlaneError: There is a video, and OpenCV is not installed.
    """
    same = Counter(path.name for path in given)
    found = [image for path in given for image in _images(path, frames, every, same[path.name] > 1)]
    if not found:
        named = ", ".join(str(path) for path in given)
        why = f"images end in .jpg, .png, .webp and the like, videos in {', '.join(sorted(VIDEOS))}"
        raise DatasetError(f"there is no image in {named}", why, "name others")
    planned: list[PlannedImage] = []
    told: list[str] = []
    for image, look in zip(found, look_at_all([image.origin for image in found], None)):
        if isinstance(look, Problem):
            told.append(f"{image.origin.file} {look[1]}")
        else:
            planned.append(PlannedImage(image.name, image, look, (), "train", look.upright, ""))
    if not planned:
        raise DatasetError("no image can be used", "\n".join(told[:5]), "name images that can be opened")
    return planned, told


def _images(path: Path, frames: Path, every: int, shared: bool) -> Iterator[LabelledImage]:
    """Of one path; named by its end, or, where others share that, by all of it."""
    if path.is_dir():
        for file in walk(path):
            if file.suffix.lower() in SUFFIXES | VIDEOS:
                name = file.relative_to(path) if not shared else file
                yield from _file(file, name.as_posix().lstrip("/"), frames, every)
    elif path.is_file():
        yield from _file(path, path.as_posix().lstrip("/") if shared else path.name, frames, every)
    else:
        raise DatasetError(f"{path} is not there", "", "check the path")


def _file(path: Path, name: str, frames: Path, every: int) -> Iterator[LabelledImage]:
    if path.suffix.lower() not in VIDEOS:
        yield LabelledImage(name, ImageFile(path), (), str(path), str(path))
        return
    for number, file in _frames(path, frames, every):
        below = PurePosixPath(name)
        yield LabelledImage(f"{below.with_suffix('')}-{number:06d}.jpg", ImageFile(file), (), str(path), str(path))


def _frames(path: Path, out: Path, every: int) -> Iterator[tuple[int, Path]]:
    """Frames of a video as files: (number from 0, file)."""
    try:
        import cv2
    except ImportError as error:
        raise JetlaneError(
            f"{path} is a video, and OpenCV is not installed",
            str(error),
            "pip install opencv-python-headless, or turn the video into images first (ffmpeg -i VIDEO FRAMES/%06d.jpg)",
        ) from None
    source: Any = cv2.VideoCapture(str(path))
    if not source.isOpened():
        raise DatasetError(
            f"{path} cannot be opened", "OpenCV knows no such video", "convert it: ffmpeg -i VIDEO out.mp4"
        )
    folder = out / f"{len(list(out.iterdir())):04d}"
    folder.mkdir()
    try:
        number = 0
        while source.grab():
            if number % every == 0:
                there, frame = source.retrieve()
                file = folder / f"{number:06d}.jpg"
                if there and cv2.imwrite(str(file), frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]):
                    yield number, file
            number += 1
    finally:
        source.release()
