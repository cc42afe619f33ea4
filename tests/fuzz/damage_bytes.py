"""Damage to a file's bytes, as copies, disks and editors do it, and as an attacker would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tests.fuzz.numbers import whole

KINDS = ("flip", "set", "insert", "delete", "repeat", "swap", "truncate", "length", "zeros", "nest")

#: A tag's length or a number as varints: 2**35 - 1, 2**64 - 1, one that never ends.
_LENGTHS = (b"\xff\xff\xff\xff\x7f", b"\xff" * 9 + b"\x01", b"\xff" * 12, b"\x80\x80\x80\x80\x04")
#: Longer runs of weights are left alone: hitting them changes a number, and nothing else.
_WEIGHTS = 64


def skeleton(data: bytes, weights: Iterable[bytes]) -> Sequence[int]:
    """Places in a file that are not inside the given weights."""
    free = np.ones(len(data), bool)
    for blob in weights:
        if len(blob) > _WEIGHTS:
            start = data.find(blob)
            if start >= 0:
                free[start + 4 : start + len(blob) - 4] = False
    places: Sequence[int] = np.flatnonzero(free).tolist()
    return places


def damage(data: bytes, places: Sequence[int], steps: Iterable[Sequence[Any]]) -> bytes:
    """``data`` with each step (kind, a, b, number) done to it, at one of the places."""
    result = bytearray(data)
    for kind, a, b, number in steps:
        at = min(places[a * len(places) // 1_000_001], len(result))
        length = 1 + b % 40
        chunk = bytes(result[at : at + length])
        if kind == "flip" and chunk:
            result[at] ^= 1 << b % 8
        elif kind == "set" and chunk:
            result[at] = b % 256
        elif kind == "insert":
            result[at:at] = bytes([b % 256]) * (1 + abs(whole(number)) % 9)
        elif kind == "delete":
            del result[at : at + length]
        elif kind == "repeat":
            result[at:at] = chunk * (1 + b % 50)
        elif kind == "swap":
            other = min(places[b * len(places) // 1_000_001], len(result))
            there = bytes(result[other : other + len(chunk)])
            if len(there) == len(chunk):
                result[other : other + len(chunk)] = chunk
                result[at : at + len(chunk)] = there
        elif kind == "truncate":
            del result[at:]
        elif kind == "length":
            varint = _LENGTHS[b % len(_LENGTHS)]
            result[at : at + 1] = varint
        elif kind == "zeros":
            result[at : at + length] = bytes(len(chunk))
        elif kind == "nest":
            result[at:at] = nested(2 + b % 200)
    return bytes(result)


def nested(depth: int) -> bytes:
    """Messages in messages, each the first field of the one around it."""
    inner = b""
    for _ in range(depth):
        size, length = len(inner), bytearray()
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        length.append(size)
        inner = b"\x0a" + bytes(length) + inner
    return inner
