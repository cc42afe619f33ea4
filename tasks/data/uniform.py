"""Images as training reads them: upright JPEG or PNG of at most ``max_side``; bytes that need no change stay."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Optional

from jetlane.tasks.data.dataset_model import Size
from jetlane.tasks.data.orientation import QUALITY
from jetlane.tasks.data.pixels import ImageFacts, UnusableImage, eight_bits, opened

if TYPE_CHECKING:
    from PIL.Image import Image

#: What makes an image of each EXIF orientation upright: numbers of PIL.Image.Transpose.
_METHODS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def uniform_size(facts: ImageFacts, max_side: Optional[int]) -> Size:
    """The size that an image will have, (width, height); no image becomes larger."""
    width, height = facts.upright
    longest = max(width, height)
    if max_side is None or longest <= max_side:
        return width, height
    return max(1, round(width * max_side / longest)), max(1, round(height * max_side / longest))


def changes(facts: ImageFacts, max_side: Optional[int]) -> bool:
    """Whether an image is written again."""
    return bool(facts.rewrite) or facts.orientation != 1 or uniform_size(facts, max_side) != facts.size


def uniform(encoded: bytes, facts: ImageFacts, max_side: Optional[int]) -> bytes:
    """The image's bytes in ``facts.format``, upright, reduced where it is larger than ``max_side``.

    Reduction takes the mean of the area of each new pixel. Equal bytes give equal bytes.

    Raises:
        UnusableImage: It cannot be decoded.
    """
    if not changes(facts, max_side):
        return encoded
    from PIL import Image

    size = uniform_size(facts, max_side)
    try:
        with opened(encoded) as picture:
            stored = size if facts.upright == facts.size else size[::-1]
            if size != facts.upright and picture.format == "JPEG":
                # the decoder halves: at least twice the wanted size, so that the rest is still a mean of areas
                picture.draft(picture.mode, (stored[0] * 2, stored[1] * 2))
            picture.load()
            plain = _rgb(eight_bits(picture))
            if plain.size != stored:
                plain = plain.resize(stored, Image.Resampling.BOX)
            method = _METHODS.get(facts.orientation)
            return _encoded(plain if method is None else plain.transpose(Image.Transpose(method)), facts.format)
    except UnusableImage:
        raise
    except Exception as error:  # Pillow raises many kinds for damaged data
        raise UnusableImage("damaged_image", f"cannot be decoded: {error}") from error


def _rgb(picture: Image) -> Image:
    """8-bit grey or RGB; what is transparent shows what lies below, as TensorFlow shows it."""
    if picture.mode in ("L", "RGB"):
        return picture
    if picture.mode in ("1", "LA") or (
        picture.mode == "P" and picture.info.get("transparency") is None and _is_grey(picture)
    ):
        return picture.convert("L")
    return picture.convert("RGB")


def _is_grey(picture: Image) -> bool:
    palette = picture.getpalette() or []
    return all(palette[i] == palette[i + 1] == palette[i + 2] for i in range(0, len(palette) - 2, 3))


def _encoded(picture: Image, kind: str) -> bytes:
    content = io.BytesIO()
    if kind == "jpeg":
        picture.save(content, "JPEG", quality=QUALITY, subsampling=0)
    else:
        picture.save(content, "PNG")
    return content.getvalue()
