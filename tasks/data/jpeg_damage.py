"""Damage inside a JPEG, which decoders pass over: they find their way again, and what is below has other colours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

#: Bytes that some cameras leave before the end of a JPEG; more mean that the decoder lost its way.
_STRAY = 4
_STRAY_BYTES = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
#: Zero bytes of coded data that no picture has, where a code of zeros alone does not mean "nothing more in this block".
_ZEROS = bytes(64)
_START_OF_SCAN, _HUFFMAN_TABLES = 0xDA, 0xC4
_BASELINE = (0xC0, 0xC1)
#: Frames of arithmetic coding, sequential, progressive and lossless.
_ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)


def small_grey(encoded: bytes, side: int) -> tuple[Optional[np.ndarray[Any, Any]], str]:
    """A JPEG in grey, uint8 [height, width], and what is wrong with it.

    All of its data is decoded, but waves are left out: the image has an eighth of its size, or the next more eighths
    that make both sides as long as ``side``. Twice as fast as the whole image, and the same damage is found.

    Returns:
        (None, "") where it is no JPEG that this decoder reads.
    """
    import simplejpeg

    warning, smallest = "", {"min_height": side, "min_width": side}
    try:
        found = simplejpeg.decode_jpeg(encoded, "GRAY", strict=True, **smallest)
    except ValueError as error:
        warning = (str(error).splitlines() or [""])[0][:200]
        try:
            found = simplejpeg.decode_jpeg(encoded, "GRAY", strict=False, **smallest)
        except ValueError:
            return None, ""
    stray = _STRAY_BYTES.search(warning)
    if stray is not None and int(stray[1]) <= _STRAY:
        warning = ""
    if not warning and _is_zeroed(encoded):
        warning = "a part of its data is nothing but zeros"
    return found[..., 0], warning


def is_arithmetic(encoded: bytes) -> bool:
    """Whether a JPEG is coded arithmetically, which TensorFlow's decoder does not read."""
    return any(marker in _ARITHMETIC for marker, _, _ in _segments(encoded))


def _is_zeroed(encoded: bytes) -> bool:
    """Whether coded data holds zeros that are no picture: with most tables they would be 63 waves in every block."""
    if encoded.find(_ZEROS) < 0:
        return False
    baseline, firsts = False, list[int]()
    for marker, start, end in _segments(encoded):
        baseline |= marker in _BASELINE
        if marker == _HUFFMAN_TABLES:
            firsts += _first_symbols(encoded[start:end])
        if marker == _START_OF_SCAN:
            # brightness has a table of its own, and every few blocks are of it
            return baseline and any(firsts) and encoded.find(_ZEROS, end, _end(encoded)) >= 0
    return False


def _end(encoded: bytes) -> int:
    """Where the coded data ends, as far as a marker tells."""
    found = encoded.rfind(b"\xff\xd9")
    return found if found >= 0 else len(encoded)


def _segments(encoded: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the content of each segment, to the first scan's header."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker, length = encoded[at + 1], int.from_bytes(encoded[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill
            at += 1
            continue
        yield marker, at + 4, at + 2 + length
        if marker == _START_OF_SCAN or length < 2:
            return
        at += 2 + length


def _first_symbols(tables: bytes) -> Iterator[int]:
    """The symbol whose code is of zeros alone, of each AC table of a segment; canonical codes begin with it."""
    at = 0
    while at + 17 < len(tables):
        count = sum(tables[at + 1 : at + 17])
        if tables[at] >> 4 and count:
            yield tables[at + 17]
        at += 17 + count
