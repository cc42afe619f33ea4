"""Deviations below SSH: a relay before the double that greets, stops, cuts or adds whatever a case says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Optional

from .deviations import Deviation

_VERSION = b"SSH-2.0-OpenSSH_8.9\r\n"
#: What a server may greet with instead of its version.
GREETINGS = (
    b"SSH-2.0-\x1b]0;owned\x07\x1b[2J\r\n",
    b"SSH-1.5-old\r\n",
    b"SSH-2.0\r\n",
    b"\xff\xfe\x00\r\n",
    b"SSH-9.9-\x9b31m\xe2\x80\xae\r\n",
    b"HTTP/1.1 400 \x1b[2J Bad Request\r\n\r\n",
    b"SSH-2.0-x\r\n" + bytes(64),
    b"SSH-2.0-x\r\n" + b"\xff" * 64,
    b"SSH-2.0-x\r\n" + bytes([0, 0, 0, 1]) * 16,
    b"SSH-2.0-x\r\n" + bytes([0, 0, 0, 12, 255, 20]) + bytes(58),
)


async def listen(host: str, beyond: int, deviates: Callable[[], Optional[Deviation]]) -> int:
    """Relay to the double's port ``beyond``; returns the relay's own."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await _serve(host, beyond, deviates(), reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    return int(server.sockets[0].getsockname()[1])


async def _serve(host: str, beyond: int, deviation: Optional[Deviation], reader: Any, writer: Any) -> None:
    kind = deviation.kind if deviation is not None else ""
    if deviation is not None and kind == "greets":
        await _greet(deviation, reader, writer)
        return
    away_reader, away_writer = await asyncio.open_connection(host, beyond)
    upwards = asyncio.create_task(_pump(reader, away_writer))
    try:
        if deviation is None or kind not in ("stop_at", "cut_at", "drip_at", "noise_at", "length_at", "frozen_at"):
            await _pump(away_reader, writer)
            return
        left = deviation.at % 6000
        while left and (chunk := await away_reader.read(left)):
            writer.write(chunk)
            left -= len(chunk)
        await writer.drain()
        if kind == "frozen_at":
            upwards.cancel()
        await _depart(deviation, away_reader, writer)
    finally:
        upwards.cancel()
        away_writer.close()


async def _greet(deviation: Deviation, reader: Any, writer: Any) -> None:
    value = deviation.value
    if value == "closes":
        return
    if value == "mute":
        await reader.read()
    elif value == "words":
        writer.write(GREETINGS[deviation.place % len(GREETINGS)])
        await writer.drain()
        await reader.read()
    elif value == "version_only":
        writer.write(_VERSION)
        await reader.read()
    elif value == "endless_packet":
        writer.write(_VERSION + (0xFFFFFFF4).to_bytes(4, "big"))
    piece, pause = {
        "lines": (b"welcome\r\n", 0.0),
        "long": (b"x" * 4096, 0.0),
        "drip": (b"S", 0.05),
        "endless_packet": (bytes(1 << 16), 0.0),
    }.get(value, (b"", 0.0))
    while piece:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(pause)


async def _depart(deviation: Deviation, away: Any, writer: Any) -> None:
    rng = random.Random(deviation.place)
    if deviation.kind == "cut_at":
        writer.transport.abort()
    elif deviation.kind in ("stop_at", "frozen_at"):
        await asyncio.sleep(600)
    elif deviation.kind == "drip_at":
        while chunk := await away.read(1):
            writer.write(chunk)
            await writer.drain()
            await asyncio.sleep(0.01)
    elif deviation.kind == "noise_at":
        writer.write(rng.randbytes(1 + deviation.count))
        await _pump(away, writer)
    else:  # a packet of almost 4 GiB is announced, and sent
        writer.write((0xFFFFFFF0 - 16 * deviation.place).to_bytes(4, "big"))
        while True:
            writer.write(bytes(1 << 16))
            await writer.drain()


async def _pump(source: Any, sink: Any) -> None:
    with suppress(OSError):
        while chunk := await source.read(1 << 16):
            sink.write(chunk)
            await sink.drain()
