"""What an encoded image is, without keeping its pixels: size, orientation, colour, damage, and what it looks like.

The libraries that read images are lenient: a JPEG that is damaged in the middle is decoded to grey without a word.
TensorFlow's decoders are lenient with the same ones, and end the training with others. Both are found here.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jetlane.tasks.data.dataset_model import Size
from jetlane.tasks.data.jpeg_damage import is_arithmetic, small_grey
from jetlane.tasks.data.orientation import exif_orientation, is_quarter_turn

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pixels of an image; a bomb is a small file of many.
MOST_PIXELS = 110_000_000
#: Side of the thumbnail that two images are compared by.
THUMBNAIL = 16
#: What Pillow may open; more formats are more code that a hostile file reaches.
_OPENED = ("JPEG", "MPO", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF")
#: Modes of PNG files that TensorFlow's decoder and Pillow turn into the same RGB.
_PNG_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")
_STARTS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the image: run git lfs pull"),
    (b"<!DOCTYPE", "is a web page, not an image"), (b"<html", "is a web page, not an image"),
    (b"<svg", "is an SVG drawing"), (b"<?xml", "is XML"), (b"%PDF", "is a PDF"), (b"{", "is JSON"),
)  # fmt: skip
_BRANDS = {
    b"heic": "HEIC",
    b"heix": "HEIC",
    b"mif1": "HEIF",
    b"isom": "a video",
    b"mp42": "a video",
    b"qt  ": "a video",
}


class UnusableImage(ValueError):
    """An image that cannot be used; ``kind`` is that of a finding."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class ImageFacts:
    """What there is to know of an encoded image.

    Attributes:
        sha256: Of its encoded bytes.
        size: As it is stored.
        orientation: EXIF's, 1 to 8: how viewers turn it.
        rewrite: Why it has to be written again for TensorFlow's decoders; empty where it need not.
        format: ``jpeg`` or ``png``, as it is or will be.
        hash: Perceptual, 64 bits: of the signs of differences between neighbours.
        thumbnail: Grey, THUMBNAIL x THUMBNAIL bytes.
        taken: EXIF's time, as it is written; empty without.
        damage: What is wrong with it where it can be decoded all the same.
    """

    sha256: str
    size: Size
    orientation: int
    rewrite: str
    format: str
    hash: int
    thumbnail: bytes
    taken: str = ""
    damage: str = ""

    @property
    def upright(self) -> Size:
        """Its size as viewers show it."""
        return self.size[::-1] if is_quarter_turn(self.orientation) else self.size


def examine(encoded: bytes) -> ImageFacts:
    """Look at an image; its pixels are decoded once, to find damage.

    Raises:
        UnusableImage: It cannot be decoded.
    """
    from PIL import Image, UnidentifiedImageError

    _refuse_other_files(encoded)
    try:
        with warnings.catch_warnings(), opened(encoded) as picture:
            warnings.simplefilter("ignore")  # of Pillow, about what is checked here
            _refuse_bombs(picture.size)
            orientation, taken = exif_orientation(picture), _taken(picture)
            rewrite, kind = _rewrite(picture, encoded)
            grey, damage = _grey(picture, encoded)
            size = (int(picture.size[0]), int(picture.size[1]))
    except UnusableImage:
        raise
    except Image.DecompressionBombError as error:
        raise UnusableImage("unreadable_image", f"has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise UnusableImage("unreadable_image", "is no image of a format that can be read") from error
    except Exception as error:  # Pillow raises many kinds for damaged data
        raise UnusableImage("damaged_image", f"cannot be decoded: {_first_words(error)}") from error
    small = grey.resize((THUMBNAIL * 2, THUMBNAIL * 2), Image.Resampling.BOX)
    thumbnail = small.reduce(2)
    return ImageFacts(
        hashlib.sha256(encoded).hexdigest(),
        size,
        orientation,
        rewrite,
        kind,
        _hash(small),
        thumbnail.tobytes(),
        taken,
        damage,
    )


def opened(encoded: bytes) -> Image:
    """An image whose header was read; of the formats that are meant alone.

    Raises:
        UnidentifiedImageError: It is of none of them. Pillow raises many others.
    """
    from PIL import Image, UnidentifiedImageError

    Image.preinit()  # a format whose plugin is not loaded yet cannot be named; the rest take half a second
    try:
        return Image.open(io.BytesIO(encoded), formats=[name for name in _OPENED if name in Image.OPEN])
    except UnidentifiedImageError:
        Image.init()
        return Image.open(io.BytesIO(encoded), formats=[name for name in _OPENED if name in Image.OPEN])


def _grey(picture: Image, encoded: bytes) -> tuple[Image, str]:
    """A small grey version of the image, and what is wrong with it."""
    from PIL import Image as images

    damage = ""
    if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
        found, damage = small_grey(encoded, THUMBNAIL * 2)
        if found is not None:
            return images.fromarray(found), damage
    if picture.format == "PNG":
        _check_chunks(encoded)
    picture.load()
    return eight_bits(picture).convert("L"), damage


def _rewrite(picture: Image, encoded: bytes) -> tuple[str, str]:
    """(why it is written again, the format that it then has)."""
    kind, mode = picture.format, picture.mode
    if kind in ("JPEG", "MPO"):
        if mode not in ("RGB", "L"):
            return f"{mode} colours", "jpeg"
        return ("arithmetic coding" if is_arithmetic(encoded) else ""), "jpeg"
    if kind != "PNG":
        return f"{kind}", "png"
    if mode not in _PNG_MODES:
        return f"{'16 bits' if mode.startswith('I') else mode}", "png"
    depth = encoded[24] if len(encoded) > 24 else 8
    return ("16 bits" if depth == 16 else ""), "png"


def eight_bits(picture: Image) -> Image:
    """A picture of 16-bit, 32-bit or floating-point grey as TensorFlow shows 16 bits: the upper eight."""
    from PIL import Image as images

    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture).astype(np.float64)
        if picture.mode == "F":
            values = np.nan_to_num(values) * (65535.0 if np.nanmax(values, initial=0) <= 1.0 else 1.0)
        return images.fromarray((np.clip(values, 0, 65535).astype(np.uint32) >> 8).astype(np.uint8))
    return picture


def _hash(grey: Image) -> int:
    import imagehash

    bits = imagehash.dhash(grey, hash_size=8).hash.ravel()
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _check_chunks(encoded: bytes) -> None:
    """The checksums of a PNG: TensorFlow's decoder ends the training where one is wrong, Pillow overlooks it."""
    at = 8
    while at + 8 <= len(encoded):
        length, name = struct.unpack(">I4s", encoded[at : at + 8])
        end = at + 12 + length
        if end > len(encoded):
            raise UnusableImage("damaged_image", "is cut short")
        (checksum,) = struct.unpack(">I", encoded[end - 4 : end])
        if zlib.crc32(encoded[at + 4 : end - 4]) != checksum:
            raise UnusableImage(
                "damaged_image", f"is damaged: the checksum of its {name.decode('ascii', 'replace')} is wrong"
            )
        if name == b"IEND":
            return
        at = end
    raise UnusableImage("damaged_image", "is cut short")


def _refuse_other_files(encoded: bytes) -> None:
    if not encoded:
        raise UnusableImage("unreadable_image", "is empty")
    start = encoded[:64].lstrip()
    for begins, what in _STARTS:
        if start.lower().startswith(begins.lower()):
            raise UnusableImage("unreadable_image", what)
    if encoded[4:8] == b"ftyp" and encoded[8:12] in _BRANDS:
        raise UnusableImage("unreadable_image", f"is {_BRANDS[encoded[8:12]]}, which TensorFlow does not read")
    if not any(encoded[:4096]):
        raise UnusableImage("unreadable_image", "is nothing but zeros")


def _refuse_bombs(size: Size) -> None:
    width, height = size
    if width * height > MOST_PIXELS or max(size) > 65_500:
        raise UnusableImage(
            "unreadable_image", f"has {width:,} x {height:,} pixels; at most {MOST_PIXELS:,} are decoded"
        )
    if min(size) < 1:
        raise UnusableImage("unreadable_image", "has no pixels")


def _taken(picture: Image) -> str:
    try:
        exif = picture.getexif()
        found = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132)
    except Exception:  # EXIF is written by anybody
        return ""
    return found[:40] if isinstance(found, str) and found.isprintable() else ""


def _first_words(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]
