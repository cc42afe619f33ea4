"""An image as a file: JPEG by a library that the program has imported anyway, else PNG by zlib alone.

No library is imported for it: that would take the program's time and memory.
"""

import struct
import sys
import time
import zlib
from typing import Any, Iterator, Optional

import numpy as np

from ..detect.arrays import Array

JPEG, PNG = "jpg", "png"
_STARTS = {JPEG: b"\xff\xd8\xff", PNG: b"\x89PNG\r\n\x1a\n"}
_QUALITY = 95
#: zlib's fastest: the higher ones take several times as long for a tenth less.
_LEVEL = 1
#: PNG's filter of a row that holds the differences from the row above (RFC 2083, 6.4).
_UP = 2
#: Bytes that are packed at a time, in a millisecond or a few; and the share of a core that is taken. Each piece leaves
#: Python's lock to the program.
_PIECE, _SHARE = 64 << 10, 0.25


def kind_of(content: Any) -> Optional[str]:
    """``jpg`` or ``png`` by the first bytes of a file; None where they are neither's."""
    if not isinstance(content, bytes):
        return None
    return next((kind for kind, start in _STARTS.items() if content.startswith(start)), None)


def encoded(image: Array) -> bytes:
    """An image as the bytes of a file.

    Args:
        image: uint8 [H, W, 3], RGB.
    """
    return _by_opencv(image) or _by_pillow(image) or png(image)


def _by_opencv(image: Array) -> Optional[bytes]:
    encode = getattr(sys.modules.get("cv2"), "imencode", None)
    if encode is None:
        return None
    quality = sys.modules["cv2"].IMWRITE_JPEG_QUALITY
    done, content = encode(".jpg", np.ascontiguousarray(image[:, :, ::-1]), [quality, _QUALITY])
    return bytes(content.tobytes()) if done else None


def _by_pillow(image: Array) -> Optional[bytes]:
    create = getattr(sys.modules.get("PIL.Image"), "fromarray", None)
    if create is None:
        return None
    import io

    file = io.BytesIO()
    create(np.ascontiguousarray(image)).save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def png(image: Array) -> bytes:
    """An image, uint8 [H, W, 3] RGB, as PNG; with pauses, as the program needs the processor."""
    height, width = image.shape[:2]
    flat = np.ascontiguousarray(image).reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    parts = ((b"IHDR", header), (b"IDAT", b"".join(_packed(flat))), (b"IEND", b""))
    return _STARTS[PNG] + b"".join(_chunk(name, content) for name, content in parts)


def _packed(flat: Array) -> Iterator[bytes]:
    """The compressed rows, in pieces."""
    packer, step = zlib.compressobj(_LEVEL), max(_PIECE // flat.shape[1], 1)
    for start in range(0, len(flat), step):
        began = time.monotonic()
        yield packer.compress(_filtered(flat, start, start + step))
        time.sleep((time.monotonic() - began) * (1.0 / _SHARE - 1.0))
    yield packer.flush()


def _filtered(flat: Array, start: int, end: int) -> bytes:
    """Rows as PNG packs them: the filter's number, and the differences from the row above."""
    own = flat[start:end]
    rows = np.empty((len(own), 1 + flat.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = own[0] - (flat[start - 1] if start else 0)
    np.subtract(own[1:], own[:-1], out=rows[1:, 1:])
    return rows.tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
