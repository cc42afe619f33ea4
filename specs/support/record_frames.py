"""How TensorFlow frames the records of its files (TFRecord, and TensorBoard's event files).

A record is: length (uint64, little endian), masked CRC-32C of those 8 bytes, payload, masked CRC-32C of the payload.
The mask is ``((crc >> 15) | (crc << 17)) + 0xa282ead8`` modulo 2**32 (tensorflow/core/lib/hash/crc32c.h).
"""

from __future__ import annotations

import struct


def frame(payload: bytes) -> bytes:
    """One record as it stands in the file."""
    length = struct.pack("<Q", len(payload))
    return length + masked_crc(length) + payload + masked_crc(payload)


def masked_crc(data: bytes) -> bytes:
    """The four bytes of a record's checksum."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
