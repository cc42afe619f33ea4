"""Boxes drawn into images, as files for people; the pages draw theirs as SVG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import numpy as np

from jetlane.remote.agent.detect.detections import Detections
from jetlane.tasks.reporting.captions import Rect, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from PIL import Image

    from jetlane.tasks.proof.coco_map import GroundTruth

#: Of the classes, as in the pages; of what is really there.
COLOURS = ("#ff5252", "#40c4ff", "#b2ff59", "#ffd740", "#e040fb", "#64ffda")
_TRUTH = "#ffffff"
_PLATE = (0, 0, 0, 185)
#: Boxes of one image; height of letters, pixels, by the longer side, at least and at most.
_BOXES, _LETTERS, _LEAST, _MOST = 200, 1 / 45, 11, 40
_QUALITY = 90


class Drawer:
    """Draws images into a folder, which is made, each under a name of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._taken: set[str] = set()

    def __call__(
        self,
        name: str,
        image: np.ndarray[Any, Any],
        found: Detections,
        names: Mapping[int, str],
        truth: Optional[GroundTruth] = None,
    ) -> None:
        """Draw one, called as the image is; see ``drawn``."""
        stem = re.sub(r"[^A-Za-z0-9._-]+", "_", name.rsplit(".", 1)[0]).strip(".") or "image"
        if stem.lower() in self._taken:
            stem = f"{stem}-{len(self._taken)}"
        self._taken.add(stem.lower())
        drawn(image, found, names, truth).save(self._folder / f"{stem}.jpg", quality=_QUALITY)


def drawn(
    image: np.ndarray[Any, Any],
    found: Detections,
    names: Mapping[int, str],
    truth: Optional[GroundTruth] = None,
) -> Image.Image:
    """An image with what was found in it, and, in thin white, what is really there.

    Args:
        image: uint8 [H, W, 3] RGB.
        names: Of the classes, by label; others are shown by number.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(np.ascontiguousarray(image)).convert("RGBA")
    width, height = picture.size
    letters = min(max(round(max(width, height) * _LETTERS), _LEAST), _MOST)
    font = ImageFont.load_default(letters)
    pen = ImageDraw.Draw(picture)
    for box in truth.boxes if truth is not None else ():
        pen.rectangle(_corners(box, width, height), outline=_TRUTH, width=max(1, letters // 12))
    shown = [one for _, one in zip(range(_BOXES), found)]
    for one in reversed(shown):  # the surest on top
        pen.rectangle(_corners(one.box, width, height), outline=_colour(one.label), width=max(2, letters // 7))
    panel = (round(width * 13 / letters), round(height * 13 / letters))  # captions as in a page that shows it so large
    texts = [(_rect(one.box, width, height), f"{names.get(one.label, one.label)} {one.score:.2f}") for one in shown]
    plates = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(plates)
    for one, caption in zip(shown, place(texts, width, height, panel)):
        if caption is not None:
            plate = caption.plate
            pen.rectangle((plate.x, plate.y, plate.x + plate.width, plate.y + plate.height), fill=_PLATE)
            pen.text((caption.x, caption.y), caption.text, fill=_colour(one.label), font=font, anchor="ls")
    return Image.alpha_composite(picture, plates).convert("RGB")


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]


def _corners(box: Any, width: int, height: int) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(edge) for edge in box)
    return left * width, top * height, max(right * width - 1, left * width), max(bottom * height - 1, top * height)


def _rect(box: Any, width: int, height: int) -> Rect:
    left, top, right, bottom = (float(edge) for edge in box)
    return Rect(left * width, top * height, (right - left) * width, (bottom - top) * height)
