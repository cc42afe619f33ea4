"""Images whose EXIF orientation asks viewers to turn them, which TensorFlow's decoders do not do."""

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
_QUALITY = 95


@dataclass(frozen=True)
class Upright:
    """An image as viewers show it, without an orientation."""

    encoded: bytes
    width: int
    height: int


def upright(picture: Image, width: int, height: int) -> Optional[Upright]:
    """The image turned, where its labels were made on the turned one: their size says so.

    Args:
        picture: A JPEG or PNG, as decoded.
        width, height: The size that the labels give.

    Returns:
        None where the size is the decoded image's own, or not that of the turned one. A half turn changes no size, and
        is left as it is: the Object Detection API means the decoded image.
    """
    if picture.getexif().get(_ORIENTATION) not in _QUARTER_TURNS or (height, width) != picture.size:
        return None
    if width == height:
        return None
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(picture)
    content = io.BytesIO()
    if picture.format == "JPEG":
        turned.save(content, "JPEG", quality=_QUALITY, subsampling=0)
    else:
        turned.save(content, "PNG")
    return Upright(content.getvalue(), width, height)
