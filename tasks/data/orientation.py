"""EXIF orientations: how viewers turn an image, which TensorFlow's decoders do not do.

Orientations are EXIF's numbers: 1 as stored, 2 mirrored, 3 turned by 180 degrees, 4 upside down and mirrored, 5 to 8
those that exchange width and height.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from PIL.Image import Image

_ORIENTATION = 0x0112
#: Orientations that exchange width and height.
_QUARTER_TURNS = (5, 6, 7, 8)
#: Of the JPEG that is written again: above it files grow and nothing is seen.
QUALITY = 95

#: (xmin, ymin, xmax, ymax) in 0..1.
Fractions = tuple[float, float, float, float]


@dataclass(frozen=True)
class Upright:
    """An image as viewers show it, without an orientation."""

    encoded: bytes
    width: int
    height: int


def exif_orientation(picture: Image) -> int:
    """EXIF's number; 1 where there is none, or none that is known."""
    try:
        found = picture.getexif().get(_ORIENTATION)
    except Exception:  # EXIF is written by anybody
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def is_quarter_turn(orientation: int) -> bool:
    """Whether width and height are exchanged."""
    return orientation in _QUARTER_TURNS


def turned_box(box: Fractions, orientation: int) -> Fractions:
    """A box of the stored image, on the image as viewers show it."""
    xmin, ymin, xmax, ymax = box
    if orientation in (2, 3, 7, 8):  # the stored image's left and right are exchanged
        xmin, xmax = 1 - xmax, 1 - xmin
    if orientation in (3, 4, 6, 7):
        ymin, ymax = 1 - ymax, 1 - ymin
    if orientation in _QUARTER_TURNS:
        xmin, ymin, xmax, ymax = ymin, xmin, ymax, xmax
    return xmin, ymin, xmax, ymax


def upright(picture: Image, width: int, height: int) -> Optional[Upright]:
    """The image turned, where its labels were made on the turned one: their size says so.

    Args:
        picture: A JPEG or PNG, as decoded.
        width, height: The size that the labels give.

    Returns:
        None where the size is the decoded image's own, or not that of the turned one. A half turn changes no size, and
        is left as it is: the Object Detection API means the decoded image.
    """
    if not is_quarter_turn(exif_orientation(picture)) or (height, width) != picture.size:
        return None
    if width == height:
        return None
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(picture)
    content = io.BytesIO()
    if picture.format == "JPEG":
        turned.save(content, "JPEG", quality=QUALITY, subsampling=0)
    else:
        turned.save(content, "PNG")
    return Upright(content.getvalue(), width, height)
